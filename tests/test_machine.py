"""Laws of instruction sets: what a node can compute, and computing as a narrower one would."""

import os
import subprocess
import sys

import pytest

from raycolor.machine import (
    INSTRUCTIONS,
    computes,
    has_kernels,
    instruction_set,
    limit_instructions,
    narrowest,
    torch_architectures,
)

PROGRAM = """
import hashlib, sys
from raycolor.machine import limit_instructions
limit_instructions(sys.argv[1])
import numpy as np
import torch
torch.set_num_threads(1)
from raycolor.colorizer.predict import Predictor
from raycolor.colorizer.config import ColorizerConfig
plane = np.random.default_rng(0).uniform(0, 100, (128, 128)).astype(np.float32)
predicted = Predictor(ColorizerConfig(checkpoint="default", precision="fp32")).predict([plane])
print(hashlib.sha256(predicted[0].ab.tobytes()).hexdigest())
"""


def test_a_wider_set_computes_a_narrower_one():
    """Each set computes itself and those before it; other architectures only themselves."""
    for at, name in enumerate(INSTRUCTIONS):
        assert [computes(name, other) for other in INSTRUCTIONS] == [k <= at for k in range(len(INSTRUCTIONS))]
        assert not computes(name, "aarch64")
        assert not computes("aarch64", name)
    assert computes("aarch64", "aarch64")


def test_nodes_agree_on_what_all_have():
    """The narrowest of x86; of several architectures that of most nodes."""
    assert narrowest(["amx_bf16", "avx2", "avx512"]) == "avx2"
    assert narrowest(["aarch64", "aarch64", "avx2"]) == "aarch64"
    assert narrowest(["aarch64", "avx2", "avx512"]) == "avx2"


def test_flags_tell_the_instructions(tmp_path):
    """The widest set whose flag the CPU has."""
    info = tmp_path / "cpuinfo"
    for flags, expected in [
        ("fpu avx avx2", "avx2"),
        ("avx2 avx512f avx512bw", "avx512"),
        ("avx2 avx512bw avx512_bf16", "avx512_bf16"),
        ("avx2 avx512bw avx512_bf16 amx_bf16", "amx_bf16"),
    ]:
        info.write_text(f"processor : 0\nflags\t\t: {flags}\n")
        assert instruction_set(info) == expected


def test_the_environment_decides_nothing(monkeypatch):
    """A limit that stood in the environment is replaced by the job's."""
    for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY"):
        monkeypatch.setenv(name, "default")
    limit_instructions("avx512")
    assert os.environ["ONEDNN_MAX_CPU_ISA"] == "AVX512_CORE"
    assert os.environ["ATEN_CPU_CAPABILITY"] == "avx512"
    assert "DNNL_MAX_CPU_ISA" not in os.environ


@pytest.mark.slow
@pytest.mark.skipif(not computes(instruction_set(), "avx512"), reason="this CPU has no AVX-512")
def test_a_limit_gives_the_bytes_of_the_narrower_cpu():
    """Limited to AVX2 a CPU with more computes as one without, and otherwise than with AVX-512."""

    def made(limit, **environment):
        command = [sys.executable, "-c", PROGRAM, limit]
        environment = {**os.environ, **environment}
        return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout

    narrow = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
    assert made("avx2") == made("no limit", **narrow)
    assert made("avx512", **narrow) == made("avx512")
    assert made("avx2") != made("avx512")


@pytest.mark.parametrize(
    ("capability", "architectures", "computes_there"),
    [
        (7.0, ["sm_75", "sm_80", "sm_90"], False),  # V100
        (6.0, ["sm_75", "compute_75"], False),  # P100
        (7.5, ["sm_75", "sm_80"], True),
        (8.9, ["sm_75", "sm_86"], True),  # L4 runs what was built for an A10
        (8.6, ["sm_89"], False),
        (12.0, ["sm_90", "compute_90"], True),
        (12.0, ["sm_90"], False),
        (10.0, ["sm_100a", "sm_120"], True),
        (8.0, [], False),
        (3.5, None, True),
    ],
)
def test_a_gpu_computes_what_was_built_for_its_kind(capability, architectures, computes_there):
    """Binary code for its major version and no newer minor one, or intermediate code that is no newer."""
    assert has_kernels(capability, architectures) is computes_there


def test_torch_tells_what_it_was_built_for_without_a_gpu():
    """A node is described where no GPU can be seen; what torch tells there decides whether its GPUs count."""
    found = torch_architectures()
    assert found is None or found == [] or any(has_kernels(8.0, [name]) for name in found)
