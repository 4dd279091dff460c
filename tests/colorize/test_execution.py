"""Where the network of the bulk job runs, decided from what a cluster has and what its devices can do."""

import json
import logging

import photographs
import pytest

from raycolor.cluster.arithmetic import Node
from raycolor.cluster.fingerprint import made_of
from raycolor.colorize.begin import begin_or_continue
from raycolor.colorize.config import ColorizeConfig
from raycolor.colorize.execution import Execution, choose_execution, settle_execution
from raycolor.colorize.speeds import Speeds, expected
from raycolor.errors import ConfigError, RaycolorError
from raycolor.models import checkpoints
from raycolor.sources import open_sources
from raycolor.storage import open_store

FUSED = Execution("cpu", 0)


@pytest.mark.parametrize(
    ("wanted", "device", "resources", "shape"),
    [
        ("auto", None, {"CPU": 3}, FUSED),
        ("auto", None, {"CPU": 64, "GPU": 2}, Execution("cuda", 2)),
        ("auto", "cpu", {"CPU": 64, "GPU": 2}, FUSED),
        ("auto", "cuda", {"CPU": 8, "GPU": 1}, Execution("cuda", 1)),
        ("fused", None, {"CPU": 64, "GPU": 2}, FUSED),
        ("staged", None, {"CPU": 3}, Execution("cpu", 1)),
        ("staged", None, {"CPU": 12}, Execution("cpu", 4)),
        ("staged", "cpu", {"CPU": 12, "GPU": 1}, Execution("cpu", 4)),
        ("staged", None, {"CPU": 12, "GPU": 1}, Execution("cuda", 1)),
    ],
)
def test_the_shape_follows_the_cluster_the_wish_and_the_job(wanted, device, resources, shape):
    """GPUs are used where there are some, unless a wish or the device of the job's first run says otherwise."""
    assert choose_execution(wanted, device, resources) == shape


@pytest.mark.parametrize(
    ("wanted", "resources", "message"),
    [("fused", {"CPU": 8, "GPU": 1}, "--shape fused has it on CPUs"), ("auto", {"CPU": 8}, "the cluster has none")],
)
def test_a_job_stays_on_its_device(wanted, resources, message):
    """A job begun on a GPU is not continued on CPUs: its colors would differ in the last digit."""
    with pytest.raises(ConfigError, match=message):
        choose_execution(wanted, "cuda", resources)


def test_as_many_gpus_as_wanted():
    """Others stay free for others; none at all is said in one line."""
    assert choose_execution("auto", None, {"CPU": 64, "GPU": 8}, 2) == Execution("cuda", 2)
    with pytest.raises(ConfigError, match="--gpus 2: the cluster has none"):
        choose_execution("auto", None, {"CPU": 64}, 2)


def test_a_network_takes_its_cpus_from_the_workers():
    """CPUs of networks are not there for workers; one on a GPU needs a CPU to answer."""
    assert Execution("cpu", 2).cpus == 2
    assert Execution("cuda", 2).cpus == 2
    assert Execution("cpu", 0).cpus == 0


L4, V100 = ("NVIDIA L4", 8.9), ("Tesla V100-SXM2-16GB", 7.0)
CLUSTER = {"CPU": 128, "GPU": 1}
GPU_WINS, CPUS_WIN = Speeds(10_000, 0.04, 0.008), Speeds(700, 0.04, 0.008)


@pytest.fixture
def settled(tmp_path):
    """A function that settles a job that begins, or another run of it, on nodes with some GPUs; what `job.json` says
    of it lies beside.
    """
    photographs.archive(tmp_path / "in", count=1)
    dest = open_store(tmp_path / "out")
    kept = []

    def settle(*gpus, shape="auto", kernels=True, measure=None, resources=CLUSTER):
        config = ColorizeConfig(source=str(tmp_path / "in"), dest=str(tmp_path / "out"), shape=shape)
        found = kept[-1] if kept else None
        record = begin_or_continue(found, config, open_sources(config.source), dest, checkpoints.load("regression"))

        def look(device):
            shown = gpus if device == "cuda" else [None] * len(gpus)
            kinds = [Node(f"n{i}", "avx512", gpu, made_of(), id=str(i), cpus=8) for i, gpu in enumerate(shown)]
            return [one if one.gpu is None else one._replace(gpus=1, kernels=kernels) for one in kinds]

        execution, record = settle_execution(config, record, 0, dest, resources, look, measure)
        kept.append(record)
        return execution, json.loads(dest.get("_raycolor/job.json"))

    return settle


@pytest.mark.parametrize(("speeds", "device", "networks"), [(GPU_WINS, "cuda", 1), (CPUS_WIN, "cpu", 0)])
def test_auto_takes_gpus_where_they_are_faster(settled, caplog, speeds, device, networks):
    """One L4 beside 127 CPUs is slower than these alone, ten times as fast a GPU is not; a line says both rates."""
    caplog.set_level(logging.INFO)
    execution, job = settled(L4, None, measure=lambda avoid: speeds)
    assert (execution.device, execution.networks) == (device, networks)
    assert job["device"] == device
    assert "measured: CPUs alone 2667 photographs/s, with GPUs for the network" in caplog.text


def test_what_is_settled_is_not_measured_again(settled):
    """A later run goes on where the job began, whatever else would be faster by then."""

    def never(avoid):
        raise AssertionError("measured")

    assert settled(L4, measure=lambda avoid: GPU_WINS)[0].device == "cuda"
    assert settled(L4, measure=never)[0].device == "cuda"


def test_staged_is_not_measured(settled):
    """Whoever asks for it gets it."""
    assert settled(L4, shape="staged", measure=lambda avoid: CPUS_WIN)[0].device == "cuda"


def test_gpus_that_cannot_be_measured_are_not_taken(settled, caplog):
    """Busy with another job, perhaps: a line says so, and how to have them all the same."""

    def busy(avoid):
        raise RaycolorError("timed out")

    assert settled(L4, measure=busy)[0] == Execution("cpu", 0, "fp32", "avx512")
    assert "no GPU could be measured (timed out): the network runs on CPUs; --shape staged uses GPUs" in caplog.text


def test_a_gpu_without_kernels_counts_as_none(settled, caplog):
    """torch finds it, and fails on it: one line says so, and CPUs do the work, its node's among them."""
    execution, _ = settled(V100, None, kernels=False)
    assert (execution.device, execution.networks, execution.left_out) == ("cpu", 0, ())
    assert [one.message for one in caplog.records if one.levelname == "WARNING"] == [
        f"node n0: torch {made_of()['torch']} has no kernels for its Tesla V100-SXM2-16GB (compute capability 7.0): "
        "it counts as none"
    ]


def test_a_job_stays_with_its_model_of_gpu(settled):
    """Device, model and precision stand in job.json, and torch's version in its identity: another GPU is refused."""
    _, job = settled(L4)
    assert (job["device"], job["computed_with"], job["precision"]) == ("cuda", "NVIDIA L4", "bf16")
    assert job["identity"]["torch"] == made_of()["torch"]
    with pytest.raises(ConfigError, match="it has a NVIDIA A10G, and this job is computed on NVIDIA L4"):
        settled(("NVIDIA A10G", 8.6))


def test_expected_rates_count_what_each_device_does():
    """CPUs alone do both parts. With GPUs the slower of the two decides, and each network costs the workers a CPU."""
    alone, staged = expected(Speeds(700, 0.04, 0.01), 100, 1)
    assert alone == pytest.approx(2000)
    assert staged == pytest.approx(630)  # the GPU, nine tenths of its time
    _, staged = expected(Speeds(1e6, 0.04, 0.01), 101, 1)
    assert staged == pytest.approx(100 / 0.011)  # the CPUs
    assert expected(Speeds(1e6, 0.04, 0.0), 1, 1)[1] == 0.0  # nobody is left to decode
