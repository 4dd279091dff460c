"""Make what cluster.yaml refers to in an AWS account, and write a copy of it that is filled in; or remove it all again.

Run from the root of the repository, with credentials that may change IAM and EC2:

    python docs/aws/setup.py --source-bucket SCANS --dest-bucket COLORED --ssh-from 203.0.113.7/32 --out my-cluster.yaml
    python docs/aws/setup.py --remove

Done twice it changes nothing more. The policies are the JSON files beside this one.
"""

import argparse
import ipaddress
import json
import string
import sys
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError

HERE = Path(__file__).resolve().parent
NAME = "raycolor"
# role -> its inline policies
ROLES = {"raycolor-head": ("s3-policy", "head-policy"), "raycolor-worker": ("s3-policy",)}
IMAGES = {
    "cpu": "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id",
    "gpu": "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id",
}
TAGS = [{"Key": "project", "Value": NAME}]


class SetupError(Exception):
    """What is wrong with the account or the arguments, in one line."""


def default_vpc(ec2: Any) -> str:
    """Return the region's default VPC: Ray uses its public subnets, one per zone."""
    found = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    if not found:
        raise SetupError("the region has no default VPC: name one with --vpc, or run `aws ec2 create-default-vpc`")
    return str(found[0]["VpcId"])


def security_group(ec2: Any, vpc: str, ssh_from: str) -> str:
    """Return the security group: everything among its members, SSH from one network, nothing else from outside."""
    group = find_group(ec2)
    if group is None:
        group = ec2.create_security_group(
            GroupName=NAME,
            Description="raycolor: nodes among themselves, SSH from one network",
            VpcId=vpc,
            TagSpecifications=[{"ResourceType": "security-group", "Tags": TAGS}],
        )["GroupId"]
    rules = [
        {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]},
        {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": ssh_from}]},
    ]
    for rule in rules:
        try:
            ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
        except ClientError as exc:
            if exc.response["Error"]["Code"] != "InvalidPermission.Duplicate":
                raise
    return str(group)


def find_group(ec2: Any) -> str | None:
    """Return the id of the security group, if there is one."""
    found = ec2.describe_security_groups(
        Filters=[{"Name": "group-name", "Values": [NAME]}, {"Name": "tag:project", "Values": [NAME]}]
    )["SecurityGroups"]
    return found[0]["GroupId"] if found else None


def s3_endpoint(ec2: Any, vpc: str, region: str) -> None:
    """Make a gateway endpoint for S3, unless the VPC has one: it is free, and traffic through a NAT gateway is not."""
    service = f"com.amazonaws.{region}.s3"
    filters = [{"Name": "vpc-id", "Values": [vpc]}, {"Name": "service-name", "Values": [service]}]
    if ec2.describe_vpc_endpoints(Filters=filters)["VpcEndpoints"]:
        return
    tables = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc]}])["RouteTables"]
    ec2.create_vpc_endpoint(
        VpcId=vpc,
        ServiceName=service,
        VpcEndpointType="Gateway",
        RouteTableIds=[table["RouteTableId"] for table in tables],
        TagSpecifications=[{"ResourceType": "vpc-endpoint", "Tags": TAGS}],
    )


def roles(iam: Any, words: dict[str, str]) -> None:
    """Make the roles of head and workers, with their policies and instance profiles."""
    for role, policies in ROLES.items():
        trust = (HERE / "trust-policy.json").read_text(encoding="utf-8")
        if not exists(lambda role=role: iam.get_role(RoleName=role)):
            iam.create_role(RoleName=role, AssumeRolePolicyDocument=trust, Tags=TAGS)
        for name in policies:
            iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(policy(name, words)))
        if not exists(lambda role=role: iam.get_instance_profile(InstanceProfileName=role)):
            iam.create_instance_profile(InstanceProfileName=role, Tags=TAGS)
        if not iam.get_instance_profile(InstanceProfileName=role)["InstanceProfile"]["Roles"]:
            iam.add_role_to_instance_profile(InstanceProfileName=role, RoleName=role)
    try:
        iam.create_service_linked_role(AWSServiceName="spot.amazonaws.com")
    except ClientError as exc:
        # It is there, as in every account that ever used spot. AWS itself says InvalidInput.
        if exc.response["Error"]["Code"] not in ("InvalidInput", "EntityAlreadyExists"):
            raise


def policy(name: str, words: dict[str, str]) -> dict[str, Any]:
    """Return a policy file with its ${WORDS} replaced."""
    text = string.Template((HERE / f"{name}.json").read_text(encoding="utf-8")).substitute(words)
    return dict(json.loads(text))


def exists(look: Any) -> bool:
    """Whether a look-up in IAM finds something."""
    try:
        look()
    except ClientError as exc:
        if exc.response["Error"]["Code"] == "NoSuchEntity":
            return False
        raise
    return True


def image(session: Any, kind: str, given: str | None) -> str:
    """Return the newest image of a kind in this region, from the parameters that its makers publish."""
    if given:
        return given
    try:
        return str(session.client("ssm").get_parameter(Name=IMAGES[kind])["Parameter"]["Value"])
    except ClientError as exc:
        raise SetupError(f"no {kind} image at {IMAGES[kind]}: give one with --{kind}-image") from exc


def fill(template: str, *, region: str, cpu_image: str, gpu_image: str, group: str) -> str:
    """Return cluster.yaml with this account's ids."""
    words = {"FILL_CPU_IMAGE": cpu_image, "FILL_GPU_IMAGE": gpu_image, "FILL_SECURITY_GROUP": group}
    for word, value in words.items():
        template = template.replace(word, value)
    return template.replace("us-east-1", region)


def remove(ec2: Any, iam: Any) -> None:
    """Remove all that the set-up made; buckets are left alone."""
    alive = {"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "shutting-down"]}
    own = {"Name": "tag:ray-cluster-name", "Values": [NAME]}
    found = ec2.describe_instances(Filters=[own, alive])["Reservations"]
    running = [one for place in found for one in place["Instances"]]
    if running:
        ids = ", ".join(one["InstanceId"] for one in running)
        raise SetupError(f"{ids} still run: first `ray down my-cluster.yaml`, then wait a minute")
    endpoints = ec2.describe_vpc_endpoints(Filters=[{"Name": "tag:project", "Values": [NAME]}])["VpcEndpoints"]
    if endpoints:
        ec2.delete_vpc_endpoints(VpcEndpointIds=[one["VpcEndpointId"] for one in endpoints])
    group = find_group(ec2)
    if group:
        ec2.delete_security_group(GroupId=group)
    for role, policies in ROLES.items():
        if exists(lambda role=role: iam.get_instance_profile(InstanceProfileName=role)):
            for member in iam.get_instance_profile(InstanceProfileName=role)["InstanceProfile"]["Roles"]:
                iam.remove_role_from_instance_profile(InstanceProfileName=role, RoleName=member["RoleName"])
            iam.delete_instance_profile(InstanceProfileName=role)
        if exists(lambda role=role: iam.get_role(RoleName=role)):
            for name in policies:
                if exists(lambda role=role, name=name: iam.get_role_policy(RoleName=role, PolicyName=name)):
                    iam.delete_role_policy(RoleName=role, PolicyName=name)
            iam.delete_role(RoleName=role)


def arguments() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--region", default="us-east-1", help="of the buckets and the cluster")
    parser.add_argument("--source-bucket", help="nodes may read it")
    parser.add_argument("--dest-bucket", help="nodes may read, write and delete in it; it has to be there")
    parser.add_argument("--ssh-from", metavar="CIDR", help="network that may use SSH, for example your address /32")
    parser.add_argument("--vpc", help="default: the region's default VPC")
    parser.add_argument("--cpu-image", help="default: the newest Ubuntu 24.04")
    parser.add_argument("--gpu-image", help="default: the newest Deep Learning Base AMI of Ubuntu 24.04")
    parser.add_argument("--out", type=Path, default=Path("my-cluster.yaml"))
    parser.add_argument("--remove", action="store_true", help="remove everything but buckets")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Set up, or remove."""
    given = arguments().parse_args(argv)
    session = boto3.Session(region_name=given.region)
    ec2, iam = session.client("ec2"), session.client("iam")
    try:
        if given.remove:
            remove(ec2, iam)
            return 0
        for flag in ("source_bucket", "dest_bucket", "ssh_from"):
            if not getattr(given, flag):
                raise SetupError(f"--{flag.replace('_', '-')} is missing")
        network = ipaddress.ip_network(given.ssh_from)
        if not network.prefixlen:
            raise SetupError(f"--ssh-from {network}: is the whole internet: give your own address, as 203.0.113.7/32")
        group = security_group(ec2, given.vpc or default_vpc(ec2), str(network))
        s3_endpoint(ec2, given.vpc or default_vpc(ec2), given.region)
        words = {
            "ACCOUNT": session.client("sts").get_caller_identity()["Account"],
            "REGION": given.region,
            "SOURCE_BUCKET": given.source_bucket,
            "DEST_BUCKET": given.dest_bucket,
            "SECURITY_GROUP": group,
        }
        roles(iam, words)
        filled = fill(
            (HERE.parent.parent / "cluster.yaml").read_text(encoding="utf-8"),
            region=given.region,
            cpu_image=image(session, "cpu", given.cpu_image),
            gpu_image=image(session, "gpu", given.gpu_image),
            group=group,
        )
        given.out.write_text(filled, encoding="utf-8")
    except (SetupError, ClientError, ValueError) as exc:
        sys.stderr.write(f"setup.py: {exc}\n")
        return 1
    sys.stdout.write(f"wrote {given.out}: now `ray up {given.out}`\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
