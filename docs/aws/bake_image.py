"""Make an image of a node that is set up, so that nodes of my-cluster.yaml start in two minutes; and name it there.

    python docs/aws/bake_image.py my-cluster.yaml            # for nodes without a GPU, the head among them
    python docs/aws/bake_image.py my-cluster.yaml --kind gpu

`ray up` starts one instance by the same set-up commands as any node, but for Ray itself and the cluster's password; its
image takes the place of the present one in my-cluster.yaml, and the instance ends. Image and snapshot cost storage
until you remove them: `aws ec2 deregister-image --delete-associated-snapshots --image-id ID`. Bake again when
requirements-worker.lock changes; with an older image nodes still work, and take minutes.
"""

import argparse
import copy
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import boto3
import yaml
from botocore.exceptions import BotoCoreError, ClientError

BAKED_BY = {"cpu": "cpu-on-demand", "gpu": "gpu-on-demand"}  # node types that give the instance
# What the launcher leaves on a head: the key to all nodes, and the cluster's description.
CLEAN = "rm -f ~/ray_bootstrap_key.pem ~/ray_bootstrap_config.yaml ~/.ray/auth_token; sync"
READY_S = 3600
TAGS = [{"Key": "project", "Value": "raycolor"}]


class BakeError(Exception):
    """What went wrong, in one line."""


def baking(config: dict[str, Any], kind: str) -> dict[str, Any]:
    """Return the description of a cluster of one node of a kind, `cpu` or `gpu`, without Ray and without a secret."""
    config = copy.deepcopy(config)
    node = config["available_node_types"][BAKED_BY[kind]]["node_config"]
    # Ray's launcher gives what a head needs to the head's role only.
    node["IamInstanceProfile"] = copy.deepcopy(
        config["available_node_types"]["head"]["node_config"]["IamInstanceProfile"]
    )
    config["cluster_name"] = name_of(config, kind)
    config["max_workers"] = 0
    config["available_node_types"] = {
        "head": {"resources": {"CPU": 0, "GPU": 0}, "min_workers": 0, "max_workers": 0, "node_config": node}
    }
    mounts = config.get("file_mounts", {})
    config["file_mounts"] = {path: source for path, source in mounts.items() if "auth_token" not in path}
    config["head_start_ray_commands"] = [CLEAN]
    config["worker_start_ray_commands"] = []
    config.pop("metadata", None)
    return config


def name_of(config: dict[str, Any], kind: str) -> str:
    """Return the name of the cluster whose only node becomes the image."""
    return f"{config['cluster_name'].removesuffix(f'-bake-{kind}')}-bake-{kind}"


def image_of(config: dict[str, Any], kind: str) -> str:
    """Return the image that nodes of a kind start from now."""
    return str(config["available_node_types"][BAKED_BY[kind]]["node_config"]["ImageId"])


def take_image(ec2: Any, cluster: str, image_name: str) -> str:
    """Make an image of a cluster's only instance, wait for it, and return its id."""
    found = ec2.describe_instances(
        Filters=[
            {"Name": "tag:ray-cluster-name", "Values": [cluster]},
            {"Name": "instance-state-name", "Values": ["running"]},
        ]
    )["Reservations"]
    instances = [one["InstanceId"] for place in found for one in place["Instances"]]
    if len(instances) != 1:
        raise BakeError(f"{cluster}: {len(instances)} instances run instead of 1: run `ray down` and try again")
    # It restarts the instance: what lies in memory is on the disk by then.
    image = str(ec2.create_image(InstanceId=instances[0], Name=image_name)["ImageId"])
    deadline = time.monotonic() + READY_S
    while (made := ec2.describe_images(ImageIds=[image])["Images"][0])["State"] != "available":
        if made["State"] == "failed" or time.monotonic() > deadline:
            raise BakeError(f"{image}: is {made['State']}: look at it in the EC2 console")
        time.sleep(15)
    snapshots = [one["Ebs"]["SnapshotId"] for one in made["BlockDeviceMappings"] if "SnapshotId" in one.get("Ebs", {})]
    ec2.create_tags(Resources=[image, *snapshots], Tags=TAGS)  # both are on the bill
    return image


def main(argv: list[str] | None = None) -> int:
    """Start, take the image, end, and write the image's id."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cluster", type=Path, help="the file that setup.py wrote; the image's id is put there")
    parser.add_argument("--kind", choices=sorted(BAKED_BY), default="cpu", help="default: cpu")
    given = parser.parse_args(argv)
    try:
        text = given.cluster.read_text(encoding="utf-8")
        config = yaml.safe_load(text)
        before = image_of(config, given.kind)
        if before.startswith("FILL_"):
            raise BakeError(f"{given.cluster}: {before} is not filled in: run setup.py first")
        one = baking(config, given.kind)
        with tempfile.TemporaryDirectory() as folder:
            description = Path(folder) / "bake.yaml"
            description.write_text(yaml.safe_dump(one), encoding="utf-8")
            try:
                subprocess.run(["ray", "up", "-y", "--no-config-cache", description], check=True)
                ec2 = boto3.client("ec2", region_name=config["provider"]["region"])
                image = take_image(ec2, one["cluster_name"], f"{one['cluster_name']}-{int(time.time())}")
            finally:
                subprocess.run(["ray", "down", "-y", description], check=False)
        given.cluster.write_text(text.replace(before, image), encoding="utf-8")
    except (BakeError, OSError, BotoCoreError, ClientError, KeyError, subprocess.CalledProcessError) as exc:
        sys.stderr.write(f"bake_image.py: {exc}\n")
        return 1
    sys.stdout.write(f"{image} in place of {before}: {given.cluster}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
