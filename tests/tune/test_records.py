"""Laws of a sweep's folder: whose it is, what a trial's state is, tables, and where trials go."""

import csv
import io
import json

import pyarrow.parquet as pq
import pytest

from raycolor.errors import ConfigError, ManifestError
from raycolor.storage import open_store
from raycolor.training.loop import curve_csv, parse_curve
from raycolor.tune.placement import place
from raycolor.tune.records import SweepRecords, Trial, trial_folder
from raycolor.tune.tables import curves_table, to_csv, to_parquet, trials_table

CURVE = [
    {"epoch": 1.0, "train_loss": 0.5, "val_n": 6.0, "val_mse": 0.03, "val_delta_colorfulness": 9.0},
    {"epoch": 2.0, "train_loss": 0.4, "val_n": 6.0, "val_mse": 0.01, "val_delta_colorfulness": 8.0},
    {"epoch": 3.0, "train_loss": 0.3, "val_n": 6.0, "val_mse": 0.02, "val_delta_colorfulness": 7.0},
]
IDENTITY = {"space": {"a": {"choice": [1, 2]}}, "trials": 4, "seed": 0, "dataset": "abc"}


@pytest.fixture
def records(tmp_path):
    return SweepRecords(open_store(tmp_path / "sweep"))


def put(records, number, name, data):
    records.store.put(f"{trial_folder(number)}/{name}", data)


def test_a_folder_belongs_to_one_sweep(records):
    """Other settings are refused with what differs; only the number of trials may be raised."""
    assert not records.exists()
    records.check(IDENTITY)
    records.claim(IDENTITY)
    assert records.exists()
    records.check(IDENTITY)
    records.check({**IDENTITY, "trials": 9})
    with pytest.raises(ConfigError, match=r"holds another sweep \(seed: 0, now 1\): give another --out"):
        records.check({**IDENTITY, "seed": 1})
    with pytest.raises(ConfigError, match=r"space\.a\.choice: \[1, 2\], now \[1\]"):
        records.check({**IDENTITY, "space": {"a": {"choice": [1]}}})
    with pytest.raises(ConfigError, match=r"trials = 3: .* has 4 already: a sweep may only grow"):
        records.check({**IDENTITY, "trials": 3})


def test_a_training_and_damage_are_no_sweep(records):
    """A run folder and a damaged sweep.json are refused."""
    records.store.put("run.json", b"{}")
    with pytest.raises(ConfigError, match="holds a training, not a sweep"):
        records.check(IDENTITY)
    for data, message in [
        (b"{", "damaged"),
        (b"[]", "describes no sweep"),
        (b'{"format": "raycolor-sweep", "format_version": 9}', "sweep format version 9: this raycolor reads 1"),
    ]:
        records.store.put("sweep.json", data)
        with pytest.raises(ConfigError, match=message):
            records.check(IDENTITY)


def test_the_state_of_a_trial_follows_from_its_files(records):
    """Planned, begun, ended: each file moves a trial on; what it ended with first stays."""
    records.plan(Trial(0, {"a": 1}, {"method": "gan"}))
    records.plan(Trial(1, {"a": 2}, {"method": "gan"}))
    assert [trial.status for trial in records.trials()] == ["waiting", "waiting"]
    put(records, 1, "run.json", b"{}")
    put(records, 1, "curve.csv", curve_csv(CURVE))
    put(records, 1, "last/checkpoint/trial.json", b"deeper files are none of a sweep's")
    _, begun = records.trials()
    assert (begun.status, begun.curve) == ("unfinished", tuple(CURVE))
    records.end(1, "failed", reason="no number")
    records.end(1, "finished")
    _, ended = records.trials()
    assert (ended.status, ended.reason) == ("failed", "no number")
    assert records.forget_failures() == [1]
    assert records.trials()[1].status == "unfinished"


def test_a_damaged_record_is_one_line(records):
    """A damaged record names the trial's folder, and what to do."""
    records.plan(Trial(0, {}, {}))
    put(records, 0, "outcome.json", json.dumps({"status": "great", "reason": "", "seconds": 1}).encode())
    with pytest.raises(ManifestError, match=r"trials/0000/: a record of this trial is damaged \(great\): remove that"):
        records.trials()


def test_metrics_are_those_of_the_checkpoint():
    """The kept row is that of the lowest val mse, as training keeps it; without one there are no metrics."""
    trial = Trial(0, {}, {}, curve=tuple(CURVE))
    assert trial.kept["epoch"] == 2
    assert trial.metrics == {"mse": 0.01, "delta_colorfulness": 8.0}
    broken = Trial(0, {}, {}, curve=({"epoch": 1.0, "val_mse": float("nan")},))
    assert broken.metrics == {} == Trial(0, {}, {}).metrics


def test_curves_survive_their_file():
    """Parsing a curve gives back what was written."""
    assert parse_curve(curve_csv(CURVE)) == CURVE
    assert parse_curve(b"") == []


def test_tables_say_the_same_as_csv_and_parquet():
    """Both files hold every trial and every cell; a value that is missing is empty."""
    trials = [
        Trial(0, {"a": 0.1, "b": "x,\n\"y\""}, {}, "finished", seconds=1.5, curve=tuple(CURVE)),
        Trial(1, {"a": 2, "b": None}, {}, "failed", "no, number"),
        Trial(2, {"a": 3, "b": True}, {}),
    ]  # fmt: skip
    table = trials_table(trials, front={0}, best=0, sweep_uri="/s")
    rows = list(csv.DictReader(io.StringIO(to_csv(table).decode())))
    assert [row["status"] for row in rows] == ["finished", "failed", "waiting"]
    assert rows[0]["b"] == 'x,\n"y"'
    assert (rows[0]["mse"], rows[1]["mse"], rows[0]["pareto"], rows[0]["checkpoint"]) == (
        "0.01", "", "true", "/s/trials/0000",
    )  # fmt: skip
    read = pq.read_table(io.BytesIO(to_parquet(table))).to_pydict()
    assert read["a"] == [0.1, 2.0, 3.0]
    assert read["b"] == ['x,\n"y"', None, "true"]
    assert read["best"] == [True, False, False]
    curves = pq.read_table(io.BytesIO(to_parquet(curves_table(trials)))).to_pydict()
    assert curves["trial"] == [0, 0, 0]
    assert curves["val_mse"] == [0.03, 0.01, 0.02]
    assert pq.read_table(io.BytesIO(to_parquet(curves_table([])))).num_rows == 0


def places(nodes, *, resources=None, workers=1, max_concurrent=None, gpu=False, spare_cpus=1):
    return place(
        nodes, resources=resources or {}, workers=workers, max_concurrent=max_concurrent, gpu=gpu, spare_cpus=spare_cpus
    )


def test_trials_fill_the_cluster_and_no_more():
    """As many trials as fit beside the spare CPU, or as many as asked for, never more than there is room for."""
    assert places([{"CPU": 3}]).concurrent == 2
    assert places([{"CPU": 3}], max_concurrent=1).concurrent == 1
    assert places([{"CPU": 3}], max_concurrent=9).concurrent == 2  # a watching process takes a hundredth of a CPU
    assert places([{"CPU": 1.5}]).concurrent == 1
    two = places([{"CPU": 8, "GPU": 2}, {"CPU": 8, "GPU": 2}], gpu=True, workers=2)
    assert (two.concurrent, two.per_worker, two.workers_per_node) == (2, {"CPU": 1.0, "GPU": 1.0}, 2)
    shared = places([{"CPU": 9}], resources={"CPU": 4}, workers=2)
    assert (shared.per_worker, shared.concurrent) == ({"CPU": 2.0}, 2)


def test_what_no_node_has_is_one_line():
    """Resources of one worker must fit a node, those of one trial the cluster."""
    with pytest.raises(ConfigError, match=r"resources = CPU 8: no node has CPU 8 for one worker \(nodes have CPU 3\)"):
        places([{"CPU": 3}], resources={"CPU": 8})
    with pytest.raises(ConfigError, match=r"no node has tpu 1, CPU 1 for one worker \(nodes have tpu 0, CPU 3\)"):
        places([{"CPU": 3}], resources={"tpu": 1})
    with pytest.raises(ConfigError, match="workers = 4 with CPU 1 each: the cluster holds 2 of them"):
        places([{"CPU": 3}], workers=4)
    with pytest.raises(ConfigError, match="no node has"):
        places([])
