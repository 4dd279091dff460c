"""Networks without memory for their weights, to ask for shapes."""

import subprocess
import sys

import pytest

from raycolor.models.blocks import shapes_alone
from raycolor.models.build import MODEL_NAMES, build_model


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_shapes_alone_are_those_of_the_network(name):
    """Without memory every tensor has the name and the shape that it has with."""
    config = {"head": "bins"} if name == "unet" else {}
    with shapes_alone():
        hollow = build_model(name, config, pretrained=False).state_dict()
    whole = build_model(name, config, pretrained=False).state_dict()
    assert {key: value.shape for key, value in hollow.items()} == {key: value.shape for key, value in whole.items()}
    assert all(value.is_meta for key, value in hollow.items() if key.endswith("weight"))


def test_asking_for_shapes_imports_no_compiler():
    """Networks are asked for shapes at every start of a worker: torch's compiler would take seconds to import."""
    script = (
        "import sys\nfrom raycolor.models.checkpoints import load\n"
        "for name in ('default', 'autoencoder', 'gan', 'regression'): load(name).skeleton()\n"
        "load('regression').model()\n"
        "print([name for name in ('torch._dynamo', 'torch._inductor', 'sympy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
