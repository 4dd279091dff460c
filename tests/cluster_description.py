"""cluster.yaml and the scripts of docs/aws, as tests read them, and how Ray and EC2 check a description."""

import copy
import importlib.util
from pathlib import Path

import botocore.session
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
