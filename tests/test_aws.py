"""Laws of docs/aws: its commands and scripts do what they say, and nodes come and go.

EC2 and IAM are moto's server on this machine: it takes any credentials and keeps nothing.
"""

import copy
import http.server
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
import urllib.error
import urllib.request
from pathlib import Path

import boto3
import botocore.session
import pytest
import yaml
from botocore.validate import ParamValidator
from cluster_description import NODE_TYPES, REGION, ROOT, bad_enums, check_by_ec2, check_by_ray, load, script


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
