"""Laws of `--scale-to`: ask, wait, withdraw the request, and go on with what came."""

from types import SimpleNamespace
from unittest import mock

import pytest

from raycolor.errors import ConfigError


class Cluster:
    """A cluster whose CPUs come at given seconds of its own clock."""

    def __init__(self, arrivals, kind="CPU"):
        self.arrivals, self.kind = arrivals, kind
        self.now, self.asked = 0.0, []

    def scale(self, workers, patience_s=600.0, gpus=0):
        from raycolor.cluster import autoscaling

        with mock.patch.multiple(
            autoscaling,
            cluster_resources=self.have,
            request_resources=lambda bundles: self.asked.append(bundles),
            time=SimpleNamespace(monotonic=lambda: self.now, sleep=lambda seconds: self.sleep(seconds)),
            PATIENCE_S=patience_s,
        ):
            autoscaling.scale(workers, gpu=self.kind == "GPU", gpus=gpus)

    def have(self):
        return {self.kind: float(sum(count for at, count in self.arrivals if at <= self.now))}

    def sleep(self, seconds):
        self.now += seconds


def test_it_waits_for_all_and_withdraws_the_request():
    """One CPU per worker and one to spare are asked for; the wait ends when they are there, and so does the request."""
    cluster = Cluster([(30, 16), (90, 16)])
    cluster.scale(31)
    assert cluster.asked == [[{"CPU": 1}] * 32, []]
    assert 90 <= cluster.now < 95


def test_gpus_come_beside_cpus():
    """For the network of the bulk job, each with a CPU of its own: the wait ends when all are there."""
    cluster = Cluster([])
    cluster.have = lambda: {"CPU": 5.0 if cluster.now >= 10 else 0.0, "GPU": 1.0 if cluster.now >= 50 else 0.0}
    cluster.scale(3, gpus=1)
    assert cluster.asked == [[{"CPU": 1}] * 4 + [{"CPU": 1, "GPU": 1}], []]
    assert 50 <= cluster.now < 55


def test_nothing_is_asked_of_a_cluster_that_is_large_enough():
    """A request would keep nodes that are there already from going."""
    cluster = Cluster([(0, 64)])
    cluster.scale(31)
    assert cluster.asked == []
    assert cluster.now == 0


def test_it_goes_on_with_less(caplog):
    """After the wait a job begins with what came, and says so."""
    cluster = Cluster([(30, 16)])
    cluster.scale(31, patience_s=120)
    assert cluster.asked[-1] == []
    assert "16 of 32 CPUs came within 120 s" in caplog.text


def test_none_at_all_is_an_error_that_says_where_to_look():
    """No worker fits: the job ends in one line instead of hanging; the request is withdrawn then too."""
    cluster = Cluster([], "GPU")
    with pytest.raises(ConfigError, match=r"--scale-to 2: no GPU came within 60 s.*ray status"):
        cluster.scale(2, patience_s=60)
    assert cluster.asked == [[{"CPU": 1, "GPU": 1}] * 2, []]


def test_stopped_while_waiting_withdraws_the_request():
    """Nodes that nobody waits for any more would only cost."""
    cluster = Cluster([])

    def stop(seconds):
        raise KeyboardInterrupt

    cluster.sleep = stop
    with pytest.raises(KeyboardInterrupt):
        cluster.scale(2)
    assert cluster.asked[-1] == []


def test_a_local_ray_cannot_grow(monkeypatch):
    """`--scale-to` without a cluster is refused before Ray is started."""
    from raycolor.cluster import session

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(ConfigError, match="--scale-to 4: a local Ray"), session.connect(scale_to=4):
        pass
