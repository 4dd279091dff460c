"""Laws of the grid of ab and of the head that predicts a distribution over it."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from raycolor.color.arrays import rgb_to_lab
from raycolor.color.scale import ab_to_net, net_to_ab
from raycolor.errors import ConfigError
from raycolor.models import bins as bins_module
from raycolor.models.bins import BinsHead, read_features
from raycolor.models.build import build_model
from raycolor.models.unet import Subsampled


def head(**settings) -> BinsHead:
    torch.manual_seed(0)
    return BinsHead(8, **{"spacing": 10.0, "temperature": 1.0, "rebalance": 0.0, **settings})


def some_colors(count: int = 4096) -> torch.Tensor:
    """Random colors of sRGB and all its corners, rounded as datasets store them: (1, 2, 1, n), network units."""
    rgb = np.random.default_rng(0).random((count, 3))
    corners = np.array([[r, g, b] for r in (0.0, 1.0) for g in (0.0, 1.0) for b in (0.0, 1.0)])
    ab = np.rint(rgb_to_lab(np.concatenate([rgb, corners]))[:, 1:])
    return torch.from_numpy(ab_to_net(ab.T[None, :, None]).astype(np.float32))


@pytest.mark.parametrize("spacing", [6.0, 10.0, 17.0])
def test_every_color_has_its_place(spacing):
    """Shares of the nodes around any color of sRGB add up to 1, and their mean is that color again."""
    bins = head(spacing=spacing)
    ab_net = some_colors()
    targets = bins.targets(ab_net)
    assert torch.allclose(targets.share.sum(0), torch.ones(1, *ab_net.shape[2:]), atol=1e-5)
    again = (targets.share[..., None] * bins.centers[targets.node]).sum(0).permute(0, 3, 1, 2)
    assert (net_to_ab(again) - net_to_ab(ab_net)).abs().max() < 1e-3


def test_a_color_beyond_the_grid_has_no_share():
    """What no sRGB color can be is left out of the loss instead of being taken for another color."""
    targets = head().targets(torch.full((1, 2, 1, 1), -1.5))
    assert float(targets.share.sum()) == 0.0


def test_the_mean_of_a_certain_distribution_is_its_node():
    """All weight on one node gives that node's color, whatever the temperature."""
    for temperature in (1.0, 0.4):
        bins = head(temperature=temperature)
        logits = torch.full((1, bins.count, 1, 1), -100.0)
        logits[0, 7] = 100.0
        assert torch.allclose(bins.mean(logits)[0, :, 0, 0], bins.centers[7], atol=1e-6)


def test_a_low_temperature_leans_to_the_likeliest():
    """Between two colors the sharpened mean lies nearer to the likelier one; `plain` takes no notice of it."""
    logits = torch.full((1, head().count, 1, 1), -100.0)
    logits[0, 0], logits[0, 50] = 1.0, 0.0
    plain, sharp = head(), head(temperature=0.38)
    far = (plain.mean(logits)[0, :, 0, 0] - plain.centers[0]).norm()
    near = (sharp.mean(logits)[0, :, 0, 0] - sharp.centers[0]).norm()
    assert near < 0.5 * far
    assert torch.equal(sharp.mean(logits, plain=True), plain.mean(logits))


def test_rebalancing_brings_rare_colors_forward():
    """Of two equally likely colors the one that training photographs rarely had weighs more."""
    bins = head(rebalance=1.0)
    bins.prior[:] = 0.0
    bins.prior[0], bins.prior[50] = 0.95, 0.05
    logits = torch.full((1, bins.count, 1, 1), -100.0)
    logits[0, 0] = logits[0, 50] = 0.0
    mean = bins.mean(logits)[0, :, 0, 0]
    assert (mean - bins.centers[50]).norm() < 0.5 * (mean - bins.centers[0]).norm()
    assert float((bins.prior * bins.rarity()).sum()) == pytest.approx(1.0)


def test_frequencies_follow_what_is_seen():
    """Seen often enough, one color alone has all the frequency; frequencies stay a distribution."""
    bins = head()
    targets = bins.targets(bins.centers[7].reshape(1, 2, 1, 1).expand(1, 2, 4, 4))
    for _ in range(900):
        bins.observe(targets)
    assert bins.prior[7] > 0.99
    assert float(bins.prior.sum()) == pytest.approx(1.0, abs=1e-4)


def test_confidence_runs_from_no_idea_to_certain():
    """Equal chances give 0, one certain color 1, and a photograph's is the mean over its pixels."""
    bins = head()
    logits = torch.zeros(1, bins.count, 4, 2)
    assert float(bins.read(logits)[1]) == pytest.approx(0.0, abs=1e-5)
    logits[0, 3, :2] = 1e4
    assert float(bins.read(logits)[1]) == pytest.approx(0.5, abs=1e-5)
    logits[0, 3] = 1e4
    assert float(bins.read(logits)[1]) == pytest.approx(1.0, abs=1e-5)


def test_saturation_multiplies_what_is_read_and_nothing_that_is_learned_from():
    """Color grows by the factor; the plain mean, which the loss compares with the truth, stays."""
    logits = torch.randn(1, head().count, 4, 4, generator=torch.Generator().manual_seed(0))
    usual, vivid = head(), head(saturation=1.25)
    assert torch.allclose(vivid.mean(logits), 1.25 * usual.mean(logits), atol=1e-6)
    assert torch.allclose(vivid.read(logits)[0], 1.25 * usual.read(logits)[0], atol=1e-6)
    assert torch.equal(vivid.mean(logits, plain=True), usual.mean(logits, plain=True))


@pytest.mark.parametrize("shrinkage", [0.5, 2.0])
def test_shrinkage_holds_back_where_the_distribution_disagrees(shrinkage):
    """A certain color stays, one half as likely as gray shrinks by the root of a half to that power, and of two
    opposite ones nothing is left; what is learned from stays as it is."""
    usual, held = head(), head(shrinkage=shrinkage)
    lengths = usual.centers.norm(dim=1)
    gray, node = int(lengths.argmin()), int(lengths.argmax())
    opposite = int((usual.centers + 0.5 * usual.centers[node]).norm(dim=1).argmin())
    logits = torch.full((1, usual.count, 1, 3), -100.0)
    logits[0, node] = 0.0
    logits[0, gray, 0, 1] = 0.0
    logits[0, opposite, 0, 2] = (lengths[node] / lengths[opposite]).log()
    factor = held.mean(logits).norm(dim=1)[0, 0] / usual.mean(logits).norm(dim=1)[0, 0]
    assert factor[:2].tolist() == pytest.approx([1.0, 0.5 ** (shrinkage / 2)], abs=1e-4)
    assert factor[2] < 0.4
    assert torch.equal(held.mean(logits, plain=True), usual.mean(logits, plain=True))
    assert torch.allclose(held.read(logits)[0], held.mean(logits), atol=1e-6)


def test_certain_gray_is_gray():
    """No color divided by no color is none, and has a slope."""
    bins = head(shrinkage=1.0)
    logits = torch.full((1, bins.count, 1, 1), -1000.0)
    logits[0, int(bins.centers.norm(dim=1).argmin())] = 1000.0
    assert float(bins.read(logits)[0].abs().max()) < 1e-30
    logits.requires_grad_()
    bins.mean(logits).sum().backward()
    assert logits.grad.isfinite().all()


def test_reading_gives_the_color_of_the_mean():
    """Color and confidence from one pass are the color that `mean` gives, whatever temperature and rebalancing."""
    logits = torch.randn(1, head().count, 4, 4, generator=torch.Generator().manual_seed(0))
    for settings in (
        {},
        {"rebalance": 0.5},
        {"temperature": 0.5},
        {"temperature": 0.5, "rebalance": 0.5, "saturation": 1.2},
        {"temperature": 0.5, "rebalance": 0.5, "saturation": 1.2, "shrinkage": 0.6},
    ):
        bins = head(**settings)
        assert torch.allclose(bins.read(logits)[0], bins.mean(logits), atol=1e-5)


def test_the_compiled_way_and_torch_read_alike():
    """Where a gradient is asked for, or on a GPU, torch computes the same color and confidence."""
    logits = 3 * torch.randn(2, head().count, 5, 7, generator=torch.Generator().manual_seed(0))
    for settings in ({}, {"temperature": 0.6, "rebalance": 0.5, "saturation": 0.8}, {"shrinkage": 0.6}):
        bins = head(**settings)
        for given in (logits, logits.bfloat16()):
            compiled, by_torch = bins.read(given), bins.read(given.clone().requires_grad_())
            assert by_torch[0].requires_grad
            assert not compiled[0].requires_grad
            for mine, theirs in zip(compiled, by_torch, strict=True):
                assert mine.shape == theirs.shape
                assert torch.allclose(mine, theirs, atol=1e-5)


@pytest.mark.parametrize(("output_stride", "every"), [(2, 3), (4, 2)])
def test_unet_with_bins_trains_on_a_part_of_what_it_predicts(output_stride, every):
    """Subsampled logits are those of the whole plane at every such pixel; color is the mean, enlarged."""
    torch.manual_seed(0)
    net = build_model("unet", {"head": "bins", "pretrained": False, "output_stride": output_stride}).eval()
    L_net = torch.rand(1, 1, 64, 64) * 2 - 1
    with torch.inference_mode():
        features = net.features(L_net)
        whole = net.head(features)
        subsampled = net(L_net, subsample=(1, 2))
        ab, sure = net.color(L_net)
    assert isinstance(subsampled, Subsampled)
    assert features.shape[2:] == (64 // output_stride, 64 // output_stride)
    assert torch.allclose(subsampled.logits, whole[:, :, 1::every, 2::every], atol=1e-5)
    assert torch.allclose(subsampled.ab_net, ab, atol=1e-5)
    assert torch.allclose(net(L_net), ab, atol=1e-5)
    assert ab.shape == (1, 2, 64, 64)
    assert 0 <= float(sure) <= 1


@pytest.mark.parametrize("pooling", [2, 4])
def test_pooling_reads_the_mean_of_neighboring_features(pooling):
    """Color has the input's size, whoever reads; training sees every pixel as without."""
    torch.manual_seed(0)
    plain = build_model("unet", {"head": "bins", "pretrained": False}).eval()
    torch.nn.init.normal_(plain.head.conv.weight, std=0.2)
    torch.nn.init.zeros_(plain.head.conv.bias)  # it begins with gray
    pooled = build_model("unet", {**plain.config(), "pooling": pooling}).eval()
    pooled.load_state_dict(plain.state_dict())
    L_net = torch.rand(1, 1, 64, 96, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.inference_mode():
        features = plain.features(L_net)
        squares = features.unflatten(3, (-1, pooling)).unflatten(2, (-1, pooling)).mean(dim=(3, 5))
        small, expected_confidence = plain.head.read(plain.head(squares))
        ab, confidence = pooled.color(L_net)
        as_trained = [net(L_net, subsample=(1, 2)) for net in (plain, pooled)]
    expected = torch.nn.functional.interpolate(small, size=(64, 96), mode="bilinear", align_corners=False)
    assert expected.abs().max() > 0.05
    assert torch.allclose(ab, expected, atol=1e-5)
    assert torch.allclose(confidence, expected_confidence, atol=1e-5)
    assert torch.allclose(pooled(L_net), ab, atol=1e-5)
    for mine, theirs in zip(*as_trained, strict=True):
        assert torch.equal(mine, theirs)


class Memory(TorchDispatchMode):
    """Counts the bytes of tensors that are made inside it and are alive."""

    def __init__(self, given) -> None:
        super().__init__()
        self.alive, self.peak = 0, 0
        self._known = {tensor.untyped_storage()._cdata for tensor in given}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for made in tree_leaves(result):
            if isinstance(made, torch.Tensor):
                self._count(made.untyped_storage())
        return result

    def _count(self, storage) -> None:
        name, size = storage._cdata, storage.nbytes()
        if name in self._known:
            return
        self._known.add(name)
        self.alive += size
        self.peak = max(self.peak, self.alive)
        weakref.finalize(storage, self._free, name, size)

    def _free(self, name: int, size: int) -> None:
        self._known.discard(name)
        self.alive -= size


@contextmanager
def on_another_device(monkeypatch) -> Iterator[None]:
    """Let CPU tensors be read as those of a GPU are: in parts, by torch."""
    with monkeypatch.context() as patch:
        patch.setattr(bins_module, "_is_cpu", lambda tensor: False)
        yield


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gpu_reads_a_batch_of_512_in_less_than_2_gb(monkeypatch, dtype):
    """Beside the features no more than a few photographs' logits are in memory, of three networks together, too. All
    at once it would be 30 GB. Counted with tensors that have shapes and no values."""
    heads = [BinsHead(48, 10.0, 0.6, 0.0).to(dtype) for _ in range(3)]
    with on_another_device(monkeypatch), torch.inference_mode(), FakeTensorMode(allow_non_fake_inputs=True):
        features = [torch.empty(512, 48, 128, 128, dtype=dtype) for _ in heads]
        with Memory(features) as memory:
            color, confidence = read_features(heads, features)
        assert (color.shape, confidence.shape) == ((512, 2, 128, 128), (512,))
        assert memory.peak < 1e9
        with Memory(features) as memory:
            heads[0].read(heads[0](features[0]))
        assert memory.peak > 30e9


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_in_parts_a_gpu_reads_what_it_reads_at_once(monkeypatch, batch):
    """Color and confidence of a batch are those of one pass over all of it, each photograph in its place."""
    bins = head(temperature=0.6, rebalance=0.5, saturation=1.2)
    features = torch.randn(batch, 8, 128, 128, generator=torch.Generator().manual_seed(1))
    torch.nn.init.normal_(bins.conv.weight, std=0.5)
    with torch.inference_mode(), on_another_device(monkeypatch):
        calls = []
        bins.conv.register_forward_hook(lambda *given: calls.append(len(given[2])))
        in_parts = read_features([bins], [features])
        at_once = bins.read(bins(features))
    assert calls == [*[1] * batch, batch]
    for mine, theirs in zip(in_parts, at_once, strict=True):
        assert torch.allclose(mine, theirs, atol=1e-5)


def test_parts_are_of_one_size(monkeypatch):
    """A batch is divided evenly: a last part that is smaller might be computed in another order."""
    monkeypatch.setattr(bins_module, "_AT_ONCE_BYTES", 4 * head().count * 16 * 16 * 4)
    sizes = []
    bins = head()
    bins.conv.register_forward_hook(lambda *given: sizes.append(len(given[2])))
    for batch in (4, 6, 7, 8):
        with torch.inference_mode(), on_another_device(monkeypatch):
            read_features([bins], [torch.zeros(batch, 8, 16, 16)])
    assert sizes == [4, 3, 3, *[1] * 7, 4, 4]


def test_networks_without_bins_do_not_claim_to_know():
    """Confidence is None, and color what the network returns."""
    net = build_model("unet", {"pretrained": False}).eval()
    L_net = torch.zeros(1, 1, 32, 32)
    with torch.inference_mode():
        ab, sure = net.color(L_net)
        assert sure is None
        assert torch.equal(ab, net(L_net))


def test_settings_out_of_bounds_are_named():
    """A temperature of 0 would divide by 0; squares of 3 pixels fit into no plane that is read."""
    for wrong in ({"temperature": 0.0}, {"pooling": 3}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            build_model("unet", wrong)
