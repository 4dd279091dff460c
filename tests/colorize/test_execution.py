"""Where the network of the bulk job runs, decided from what a cluster has."""

import pytest

from raycolor.colorize.execution import Execution, choose_execution
from raycolor.errors import ConfigError

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
    """CPUs of networks are not there for workers; GPUs cost none."""
    assert Execution("cpu", 2).cpus == 2
    assert Execution("cuda", 2).cpus == 0
