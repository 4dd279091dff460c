"""Bytes do not depend on which node computed them: what a job computes with is settled once, from all its nodes."""

import json

import chaos
import photographs
import pytest

from raycolor.cluster import nodes as nodes_module
from raycolor.cluster import placement
from raycolor.cluster.arithmetic import Arithmetic, Node, leave_out, settle, settle_onnx, unfit
from raycolor.cluster.fingerprint import made_of
from raycolor.colorize import begin, driver, execution, ray_driver
from raycolor.colorize.begin import begin_or_continue
from raycolor.colorize.config import ColorizeConfig
from raycolor.errors import ConfigError, ManifestError
from raycolor.models import checkpoints
from raycolor.sources import open_sources
from raycolor.storage import open_store

pytestmark = pytest.mark.ray


def nodes(*cpus):
    return [Node(f"n{i}", cpu, None, made_of(), id=str(i), cpus=2) for i, cpu in enumerate(cpus)]


@pytest.mark.parametrize(
    ("wanted", "cpus", "settled"),
    [
        ("auto", ["amx_bf16", "amx_bf16"], ("bf16", "amx_bf16")),
        ("auto", ["amx_bf16", "avx512_bf16"], ("bf16", "avx512_bf16")),
        ("auto", ["amx_bf16", "avx512"], ("fp32", "avx512")),
        ("auto", ["avx512", "avx2", "avx512"], ("fp32", "avx2")),
        ("auto", ["aarch64", "aarch64", "avx2"], ("fp32", "aarch64")),
        ("fp32", ["amx_bf16"], ("fp32", "avx512")),
        ("bf16", ["amx_bf16", "avx512"], ("bf16", "amx_bf16")),
        ("bf16", ["avx512", "avx2"], ("bf16", "avx2")),
    ],
)
def test_arithmetic_is_what_all_nodes_have(wanted, cpus, settled):
    """auto is bf16 only where every node multiplies it in hardware; instructions are those that all have."""
    assert settle(wanted, "cpu", nodes(*cpus)) == settled


def test_a_node_that_would_differ_is_left_out_with_a_line(caplog):
    """Too old a CPU for a job that is begun, other versions, no answer: no work. None left: one line."""
    job = Arithmetic("bf16", "avx512_bf16")
    other = made_of() | {"torch": "1.0"}
    some = [*nodes("amx_bf16", "avx512"), Node("old", "amx_bf16", None, other, id="x"), Node("gone", "", None, {})]
    assert [node.name for node in leave_out(some, job, "cpu")] == ["n1", "old", "gone"]
    assert "n1 gets no work: its CPU has avx512, and this job is computed in bf16 with avx512_bf16" in caplog.text
    assert "old gets no work: it has torch 1.0, the driver" in caplog.text
    with pytest.raises(ConfigError, match="no node can do this job's work"):
        leave_out(nodes("avx2"), job, "cpu")


def test_gpus_of_one_model_compute_a_job():
    """bf16 by auto from Ampere on; a GPU of another model gets no work."""
    old, new = ("Tesla T4", 7.5), ("NVIDIA L4", 8.9)
    some = [node._replace(gpu=gpu) for node, gpu in zip(nodes("avx2", "avx2", "avx2"), (new, old, new), strict=True)]
    job = settle("auto", "cuda", some)
    assert job == ("bf16", "NVIDIA L4")
    assert [node.name for node in leave_out(some, job, "cuda")] == ["n1"]
    assert settle("auto", "cuda", some[1:2]) == ("fp32", "Tesla T4")


def test_code_and_libraries_are_part_of_a_job(tmp_path, monkeypatch):
    """A job is not continued by other code than it was begun with, whatever the release is called."""
    photographs.archive(tmp_path / "in", count=1)
    config = ColorizeConfig(source=str(tmp_path / "in"), dest=str(tmp_path / "out"))
    source, dest = open_sources(config.source), open_store(config.dest)
    record = begin_or_continue(None, config, source, dest, checkpoints.load("regression"))
    monkeypatch.setattr(begin, "made_of", lambda: made_of() | {"code_sha256": "0"})
    with pytest.raises(ManifestError, match=r"code_sha256 was '[0-9a-f]{64}', now '0'"):
        begin_or_continue(record, config, source, dest, checkpoints.load("regression"))


@pytest.mark.slow
def test_a_node_that_cannot_is_given_no_work(tmp_path, monkeypatch, caplog):
    """Of two nodes one has no AVX-512: a job that began with it runs on the other, with a line, to the same bytes."""
    photographs.archive(tmp_path / "in", count=6)
    flags = ["--checkpoint", "regression", "--network-size", "64", "--images-per-shard", "1"]
    whole = chaos.start(chaos.job(tmp_path / "in", tmp_path / "whole", *flags, "--precision", "fp32"))
    _, told = whole.communicate(timeout=200)
    assert whole.returncode == 0, told
    cluster = chaos.start_cluster(nodes=2, cpus=2)
    try:
        weak = sorted(node.node_id for node in cluster.worker_nodes)[0]
        plain = nodes_module.look

        def look(device):
            return [node._replace(cpu="avx2") if node.id == weak else node for node in plain(device)]

        job = json.loads((tmp_path / "whole" / "_raycolor" / "job.json").read_text())
        if job["computed_with"] == "avx2":
            pytest.skip("this CPU has no AVX-512: there is no weaker node to leave out")
        monkeypatch.setattr(ray_driver, "look", look)
        monkeypatch.setattr(execution, "settle", lambda *_: Arithmetic("fp32", job["computed_with"]))
        config = ColorizeConfig(
            source=str(tmp_path / "in"), dest=str(tmp_path / "out"), address=cluster.address, checkpoint="regression",
            network_size=64, images_per_shard=1, precision="fp32",
        )  # fmt: skip
        used = []
        monkeypatch.setattr(ray_driver, "elsewhere", lambda ids: used.append(ids) or placement.elsewhere(ids))
        with caplog.at_level("INFO"):
            assert driver.run(config) == 0
        assert used == [(weak,)]
        assert "gets no work: its CPU has avx2" in caplog.text
    finally:
        cluster.shutdown()
    assert chaos.results(tmp_path / "out") == chaos.results(tmp_path / "whole")


@pytest.mark.slow
def test_label_selectors_keep_actors_from_a_node():
    """What `elsewhere` returns is understood by Ray: no actor starts on the node that is left out."""
    import ray

    cluster = chaos.start_cluster(nodes=2, cpus=2)
    try:
        ray.init(address=cluster.address, log_to_driver=False)
        weak = sorted(node.node_id for node in cluster.worker_nodes)[0]

        def where(batch):
            return {"node": [ray.get_runtime_context().get_node_id()] * len(batch["id"])}

        rows = ray.data.range(8, override_num_blocks=8).map_batches(where, num_cpus=1, **placement.elsewhere([weak]))
        found = {row["node"] for row in rows.take_all()}
        assert found
        assert weak not in found
    finally:
        ray.shutdown()
        cluster.shutdown()


def test_imported_networks_run_on_cpus_of_one_kind():
    """onnxruntime takes the widest instructions there are: wider ones than the job's are refused, too."""
    job = settle_onnx("cpu", nodes("avx2", "avx512", "avx512"))
    assert job == ("fp32", "onnxruntime on avx512")
    verdicts = [
        unfit(node, job.computed_with, job.precision, "cpu", made_of()) for node in nodes("avx512", "avx2", "amx_bf16")
    ]
    assert [verdict is None for verdict in verdicts] == [True, False, False]
