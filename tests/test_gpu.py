"""Laws of GPUs: `pytest -m gpu`, some five minutes on one card, without Ray. Written where no card could be had."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.distributed as dist
from labset import write_checkpoint, write_dataset_of
from torch.nn.parallel import DistributedDataParallel

sys.path.insert(0, str(Path(__file__).parent / "training"))
from synthetic import SyntheticData, step_settings

from raycolor.colorizer.config import ColorizerConfig
from raycolor.colorizer.predict import Predictor
from raycolor.dataset.info import read_dataset
from raycolor.errors import TrainingError
from raycolor.evaluate.measure import Evaluator, batch_size
from raycolor.evaluate.subjects import DatasetPlan
from raycolor.models import checkpoints
from raycolor.models.bins import BinsHead, read_features
from raycolor.models.build import build_discriminator, build_model
from raycolor.models.precision import choose_precision, choose_training_precision
from raycolor.storage import open_store
from raycolor.training.config import TrainingConfig
from raycolor.training.context import PlainContext
from raycolor.training.data import LabData
from raycolor.training.loop import fit
from raycolor.training.progress import About
from raycolor.training.step import GanStep, PixelStep

ROOT = Path(__file__).resolve().parent.parent
GPU = os.environ.get("RAYCOLOR_TEST_DEVICE", "cuda")  # `cpu` shows on any machine that the tests themselves run
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(GPU == "cuda" and not torch.cuda.is_available(), reason="torch finds no GPU here"),
]
SHIPPED = ("default", "accurate", "regression", "autoencoder", "gan")


def planes(count, side=256):
    """Return lightness planes of photographs: on made patterns networks have no color that they are sure of."""
    files = sorted((ROOT / "docs" / "sample").iterdir())[:count]
    grays = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in files]
    small = [cv2.resize(gray, (side, side), interpolation=cv2.INTER_AREA) for gray in grays]
    return [gray.astype(np.float32) / 2.55 for gray in small]


def predictor(checkpoint, precision, device=GPU, batch=8):
    return Predictor(ColorizerConfig(checkpoint=checkpoint, precision=precision, gpu_batch=batch), device=device)


def apart(found, expected):
    """Return the differences in ab between lists of colors, Lab units, one number for each pixel."""
    return np.concatenate(
        [np.hypot(*np.moveaxis(a.ab - b.ab, -1, 0)).ravel() for a, b in zip(found, expected, strict=True)]
    )


@pytest.mark.parametrize("checkpoint", SHIPPED)
def test_a_gpu_colors_as_a_cpu_does(checkpoint):
    """In fp32 every shipped network gives the CPU's color to a fiftieth of a Lab unit, and its confidence; in bf16,
    where the GPU has it, to a Lab unit on average: as a CPU's own bf16 does."""
    side = predictor(checkpoint, "fp32").net.fixed_size_px or 256
    asked = planes(3, side)
    expected = predictor(checkpoint, "fp32", "cpu").predict(asked)
    found = predictor(checkpoint, "fp32").predict(asked)
    assert apart(found, expected).max() < 0.02
    for mine, theirs in zip(found, expected, strict=True):
        assert (mine.confidence is None) == (theirs.confidence is None)
        assert mine.confidence is None or mine.confidence == pytest.approx(theirs.confidence, abs=1e-4)
    if choose_precision("auto", torch.device(GPU)) == "bf16":
        half = predictor(checkpoint, "bf16").predict(asked)
        assert 0 < apart(half, expected).mean() < 1.0


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("checkpoint", ["default", "accurate", "regression"])
def test_color_does_not_depend_on_the_place_in_a_batch(checkpoint, precision):
    """First, last or alone, beside others or none: bit by bit the same."""
    if choose_precision("auto", torch.device(GPU)) != "bf16" and precision == "bf16":
        pytest.skip("this GPU has no bf16")
    network = predictor(checkpoint, precision)
    asked = planes(8)
    together, turned, alone = network.predict(asked), network.predict(asked[::-1])[::-1], network.predict(asked[:1])
    for mine, theirs in zip(together, turned, strict=True):
        assert np.array_equal(mine.ab, theirs.ab)
        assert mine.confidence == theirs.confidence
    assert np.array_equal(alone[0].ab, together[0].ab)


def test_fp32_is_fp32():
    """Where it is asked for, convolutions are not rounded to TF32: their error is float32's."""
    predictor("regression", "fp32")
    generator = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(*size, generator=generator) for size in ((4, 256, 32, 32), (256, 256, 3, 3)))
    exact = torch.nn.functional.conv2d(x.double(), weight.double())
    found = torch.nn.functional.conv2d(x.to(GPU), weight.to(GPU)).double().cpu()
    assert (found - exact).abs().max() < 1e-5 * exact.abs().max()


@pytest.mark.skipif(GPU != "cuda", reason="counts a GPU's memory")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_batch_of_512_is_read_in_less_than_2_gb(dtype):
    """What reading the bins takes beside the features, by torch's own count."""
    if torch.cuda.mem_get_info()[0] < 6e9:
        pytest.skip("less than 6 GB of the card are free")
    head = BinsHead(48, 10.0, 0.6, 0.0).to(GPU, dtype)
    features = torch.randn(512, 48, 128, 128, device=GPU, dtype=dtype)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    with torch.inference_mode():
        color, confidence = read_features([head], [features])
    assert torch.cuda.max_memory_allocated() - before < 2e9
    assert torch.isfinite(color).all()
    assert torch.isfinite(confidence).all()


@pytest.mark.skipif(GPU != "cuda", reason="asks CUDA for more than there is")
def test_a_batch_beyond_the_memory_is_one_line():
    """A real one, not a made error."""
    from raycolor.errors import ConfigError

    torch.cuda.set_per_process_memory_fraction(0.02)
    try:
        with pytest.raises(ConfigError, match=r"--gpu-batch 1024: .* give a smaller --gpu-batch"):
            predictor("accurate", "fp32", batch=1024).predict(planes(1, 512))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()


def made_step(method, precision, device=GPU, wrap=lambda module: module, **settings):
    torch.manual_seed(0)
    chosen = step_settings(18, precision=precision, ema=0.8, **settings)
    if method == "gan":
        network, discriminator = build_model("gan", {"base": 8, "levels": 3}), build_discriminator({"base": 8})
        return GanStep(network, discriminator, chosen, torch.device(device), wrap)
    options = {"head": "bins", "pretrained": False} if method == "unet" else {}
    return PixelStep(build_model(method, options), chosen, torch.device(device), wrap)


def on_gpu(batch):
    return batch.L_net.to(GPU), batch.ab_net.to(GPU), batch.ids


PRECISIONS = ["fp32", choose_training_precision("auto", torch.device("cuda")) if torch.cuda.is_available() else "bf16"]


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("method", ["regression", "unet", "gan"])
def test_an_update_waits_for_nothing(method, precision):
    """After a first one, which loads kernels, CUDA is told to fail where the CPU waits for it; the loss falls."""
    step = made_step(method, precision, lr=3e-3, schedule="constant")
    batch = on_gpu(next(SyntheticData(count=8, batch_size=8).train_batches(0, 0)))
    first = float(step.update(*batch, 0)["loss"])
    if GPU == "cuda":
        torch.cuda.set_sync_debug_mode("error")
    try:
        for k in range(1, 30):
            last = step.update(*batch, k)["loss"]
    finally:
        if GPU == "cuda":
            torch.cuda.set_sync_debug_mode("default")
    step.check()
    assert float(last) < first


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_nan_changes_no_weight(precision):
    """Neither the update with it nor those after it, until it is told."""
    step = made_step("regression", precision, deferred=True)
    one, bad, after = [on_gpu(batch) for batch in SyntheticData().train_batches(0, 0)][:3]
    step.update(*one, 0)
    before = [value.clone() for value in step.network.parameters()]
    bad[1][0, 0, 0, 0] = math.nan
    step.update(*bad, 1)
    step.update(*after, 2)
    assert all(torch.equal(a, b) for a, b in zip(before, step.network.parameters(), strict=True))
    with pytest.raises(TrainingError, match="update 1: the loss is nan"):
        step.check()


class StoppedError(Exception):
    """Stands for the process being killed."""


class Stopped(SyntheticData):
    """Dies before an update."""

    def train_batches(self, epoch, start_step):
        for step, batch in enumerate(super().train_batches(epoch, start_step), start_step):
            if epoch * self.steps_per_epoch + step == 9:
                raise StoppedError
            yield batch


def test_resuming_is_never_stopping(tmp_path):
    """Killed and gone on with, a training on a GPU ends within 1% of the undisturbed curve: a GPU adds up in no fixed
    order, so its bytes may differ."""
    config, about = TrainingConfig(method="regression", epochs=3, checkpoint_every=2), About("regression", {}, {})
    device = torch.device(GPU)

    def run(folder, data):
        return fit(made_step("regression", "fp32"), data, PlainContext(tmp_path / folder, device), config, about)

    whole = run("whole", SyntheticData())
    with pytest.raises(StoppedError):
        run("again", Stopped())
    resumed = run("again", SyntheticData())
    for mine, theirs in zip(resumed.curve, whole.curve, strict=True):
        assert mine["train_loss"] == pytest.approx(theirs["train_loss"], rel=0.01)
        assert mine["val_mse"] == pytest.approx(theirs["val_mse"], rel=0.01)


@pytest.mark.skipif(GPU != "cuda", reason="pinned memory needs CUDA")
def test_batches_lie_in_pinned_memory(tmp_path):
    """Then a copy to the card waits for nothing."""
    write_dataset_of(tmp_path, train=8, val=4)
    store = open_store(tmp_path)
    config = TrainingConfig(method="regression", batch_size=4, crop_px=32)
    data = LabData(read_dataset(store), store, config, pin=True, cache_dir=tmp_path / "cache")
    for batch in [next(iter(data.train_batches(0, 0))), next(iter(data.val_batches()))]:
        assert batch.L_net.is_pinned()
        assert batch.ab_net.is_pinned()


class Rank(PlainContext):
    """One of two processes that train together."""

    def __init__(self, run, device, rank):
        super().__init__(run, device)
        self.rank, self.world_size = rank, 2

    def wrap(self, module):
        return DistributedDataParallel(module, device_ids=[self.device] if self.device.type == "cuda" else None)

    def sum(self, values):
        total = values.to(self.device)
        dist.all_reduce(total)
        return total.cpu()

    def copy_from_first(self, module):
        for tensor in module.state_dict().values():
            dist.broadcast(tensor, src=0)


class Half(SyntheticData):
    """Every second photograph of each batch."""

    def __init__(self, rank):
        super().__init__()
        self.rank = rank

    def _batch(self, rows):
        return super()._batch(rows[self.rank :: 2])


def train_rank(rank, folder, backend):
    """Train a GAN as one of two ranks, and say what its generator's weights add up to."""
    device = torch.device("cuda", rank) if backend == "nccl" else torch.device("cpu")
    torch.set_num_threads(1)
    dist.init_process_group(backend, init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    context = Rank(Path(folder) / "run", device, rank)
    step = made_step("gan", "fp32", device, context.wrap)
    config = TrainingConfig(method="gan", epochs=2)
    progress = fit(step, Half(rank), context, config, About("gan", {}, {}))
    weights = torch.cat([value.detach().flatten().cpu() for value in step.network.parameters()])
    torch.save({"weights": weights, "epochs": len(progress.curve)}, f"{folder}/rank-{rank}.pt")
    dist.destroy_process_group()


def test_two_ranks_train_a_gan_as_one():
    """Both end with the same weights: two cards by NCCL, else two processes by gloo on the CPU."""
    backend = "nccl" if torch.cuda.device_count() > 1 else "gloo"
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(train_rank, (folder, backend), nprocs=2)
        first, second = (torch.load(f"{folder}/rank-{rank}.pt") for rank in range(2))
    assert first["epochs"] == second["epochs"] == 2
    assert torch.equal(first["weights"], second["weights"])
    assert torch.isfinite(first["weights"]).all()


def test_evaluate_measures_what_a_cpu_measures(tmp_path):
    """Every metric of a batch agrees, the floors' and the network's."""
    write_dataset_of(tmp_path / "data", val=batch_size(GPU) + 3, size_px=41)
    write_checkpoint(tmp_path / "a", crop_px=32, scale=0.2)
    plan = DatasetPlan(str(tmp_path / "data"), "val", batch_size(GPU) + 3, (32,), 28, (0.05, 0.1))
    loaded = [checkpoints.load(tmp_path / "a")]
    found = [
        Evaluator(loaded, device=device, precision="fp32", cache_dir=str(tmp_path / "cache")) for device in (GPU, "cpu")
    ]
    mine, expected = (one.measure(plan, 0) for one in found)
    count = min(mine.images, expected.images)
    for row, other in zip(mine.sums, expected.sums, strict=True):
        for name, values in row.values.items():
            assert np.allclose(values[:count], other.values[name][:count], rtol=1e-3, atol=1e-3), name


def test_the_benchmark_runs(tmp_path):
    """It prints rates, the card's busy share and a price, and writes them."""
    command = [sys.executable, "benchmarks/gpu.py", "--checkpoints", "regression", "--batches", "8", "--seconds", "0.2"]
    command += ["--device", GPU, "--json", str(tmp_path / "gpu.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "per million" in done.stdout
    assert (tmp_path / "gpu.json").exists()
