"""A made sweep for tests of its report: seven trials in every state, hostile names among all that has one."""

import labset

from raycolor.dataset.info import read_dataset
from raycolor.storage import open_store
from raycolor.train.config import TrainConfig
from raycolor.training.loop import curve_csv
from raycolor.tune.config import TuneConfig
from raycolor.tune.plan import Plan
from raycolor.tune.records import SweepRecords, Trial, trial_folder
from raycolor.tune.space import parse_space

EVIL = "</td><script>alert(1)</script>' onload=y"
SPACE = parse_space({"loss.lambda_pixel": {"loguniform": [1, 1000]}, "loss.adversarial": {"choice": ["lsgan", EVIL]}})
SETTINGS = TrainConfig(
    method="gan", data="", out="", epochs=3, crop_px=32, workers=1, network={"base": 8, "discriminator": {"layers": 1}},
    optim={"lr": 1e-5, "clip_norm": None}, loss={"lambda_pixel": 3.16228, "adversarial": "minimax"},
).model_dump(mode="json", exclude={"data", "out", "address"})  # fmt: skip


def curve(start, epochs):
    """Return a curve that gets better from epoch to epoch; Δ colorfulness gets worse."""
    return [
        {
            "epoch": float(epoch), "train_loss": 1 / epoch, "val_n": 6.0, "val_mse": start / epoch,
            "val_accuracy_10": 0.4, "val_psnr_db": 20.0 + epoch, "val_colorfulness": 9.0,
            "val_delta_colorfulness": epoch - start,
        }
        for epoch in range(1, epochs + 1)
    ]  # fmt: skip


def write_sweep(root):
    """Write a sweep, its dataset, and checkpoints of those trials that have one; returns records and plan."""
    labset.write_dataset_of(root / "data", ids=lambda split, k: f"{split}/{EVIL if k == 0 else k}.jpg")
    records = SweepRecords(open_store(root / "sweep"))
    states = ["finished", "finished", "stopped", "finished", "failed", "unfinished", "waiting"]
    for number, state in enumerate(states):
        values = {"loss.lambda_pixel": 10.0 ** (number % 4), "loss.adversarial": ("lsgan", EVIL)[number % 2]}
        records.plan(Trial(number, values, SETTINGS))
        folder = trial_folder(number)
        if state != "waiting":
            records.store.put(f"{folder}/run.json", b"{}")
            epochs = {"finished": 3, "stopped": 1}.get(state, 2)
            records.store.put(f"{folder}/curve.csv", curve_csv(curve(0.1 + 0.01 * number, epochs)))
            labset.write_checkpoint(root / "sweep" / folder, seed=number)
        if state in ("finished", "stopped", "failed"):
            records.end(number, state, reason=EVIL if state == "failed" else "", seconds=61.5)
    data, out = str(root / "data"), str(root / "sweep")
    config = TuneConfig(data=data, out=out, base={}, space={}, objectives={"mse": "min", "delta_colorfulness": "min"})
    return records, Plan(config, data, out, read_dataset(open_store(data)), SPACE, epochs=3, trials=7, sampler=None)
