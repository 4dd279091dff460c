"""Laws of measuring: the numbers of a row are those of a direct computation on the same pixels."""

import sys
import types
from dataclasses import replace

import numpy as np
import onnx_made
import pytest
import torch
from labset import write_checkpoint, write_dataset_of
from skimage.color import deltaE_ciede2000, lab2rgb
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from raycolor.colorizer.config import ColorizerConfig
from raycolor.colorizer.photograph import FileColorizer
from raycolor.errors import CheckpointError, ConfigError
from raycolor.evaluate.measure import Evaluator, batch_size
from raycolor.evaluate.subjects import DatasetPlan, Subject, input_sizes, short_names, subject
from raycolor.models import checkpoints
from raycolor.models.build import build_model


def direct(network, L_bytes, ab_true, size_px, measured_px):
    """Measure one photograph with NumPy and scikit-image, from its stored planes."""
    side = L_bytes.shape[0]
    top = (side - size_px) // 2
    crop = L_bytes[top : top + size_px, top : top + size_px] / 2.55
    with torch.no_grad():
        net = network(torch.tensor(crop / 50 - 1, dtype=torch.float32)[None, None])[0].numpy()
    inner, outer = (side - measured_px) // 2 - top, (side - measured_px) // 2
    ab = 110 * net[:, inner : inner + measured_px, inner : inner + measured_px].astype(float)
    return compare(L_bytes, ab_true, ab, outer, measured_px)


def compare(L_bytes, ab_true, ab, outer, measured_px):
    place = slice(outer, outer + measured_px)
    L, truth = L_bytes[place, place] / 2.55, ab_true[:, place, place].astype(float)
    distance = np.hypot(*(ab - truth))
    lab, lab_true = (np.dstack([L, *planes]) for planes in (ab, truth))
    rgb, rgb_true = lab2rgb(lab), lab2rgb(lab_true)
    red_green, yellow_blue = 255 * (rgb[..., 0] - rgb[..., 1]), 255 * ((rgb[..., 0] + rgb[..., 1]) / 2 - rgb[..., 2])
    return {
        "mse": np.mean(((ab - truth) / 110) ** 2),
        "accuracy_10": np.mean(distance <= 10),
        "auc": np.trapezoid([np.mean(distance <= limit) for limit in range(151)]) / 150,
        "psnr_db": peak_signal_noise_ratio(rgb_true, rgb, data_range=1),
        "ssim": structural_similarity(
            rgb_true, rgb, channel_axis=2, data_range=1, gaussian_weights=True, use_sample_covariance=False
        ),
        "delta_e00": deltaE_ciede2000(lab_true, lab).mean(),
        "colorfulness": np.hypot(red_green.std(), yellow_blue.std())
        + 0.3 * np.hypot(red_green.mean(), yellow_blue.mean()),
    }


TOLERANCES = {  # float32 against float64; accuracy and AUC count pixels, one of 784 may fall on the other side
    "mse": 1e-6, "accuracy_10": 2e-3, "auc": 2e-4, "psnr_db": 2e-3,
    "ssim": 2e-5, "delta_e00": 2e-3, "colorfulness": 5e-3,
}  # fmt: skip


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def made(tmp_path, one_thread):
    """A dataset of squares of 41 px and an evaluator of two networks that see 32 and 28 px."""
    photos = write_dataset_of(tmp_path / "data", val=batch_size("cpu") + 3, size_px=41)
    networks = [
        write_checkpoint(tmp_path / name, seed=k, crop_px=px, scale=0.2) for k, (name, px) in enumerate(PIXELS.items())
    ]
    loaded = [checkpoints.load(tmp_path / name) for name in PIXELS]
    evaluator = Evaluator(loaded, precision="fp32", cache_dir=str(tmp_path / "cache"))
    plan = DatasetPlan(str(tmp_path / "data"), "val", 19, (32, 28), 28, (0.05, 0.1))
    return photos["val"], networks, evaluator, plan


PIXELS = {"a": 32, "b": 28}


def test_every_metric_is_that_of_a_direct_computation(made):
    """Per photograph, floors and networks, on the same central pixels although one network sees more than these."""
    (ids, L, ab), networks, evaluator, plan = made
    found = [evaluator.measure(plan, step) for step in range(2)]
    assert [key for part in found for key in part.sums[0].ids] == ids
    assert [part.images for part in found] == [16, 3]
    flat = {0: (0.0, 0.0), 1: plan.mean_ab_net}
    for index in (0, 5, 18):
        part, row = found[index // 16], index % 16
        for number in range(4):
            if number in flat:
                color = 110 * np.ones((2, 28, 28)) * np.reshape(flat[number], (2, 1, 1))
                expected = compare(L[index], ab[index], color, 6, 28)
            else:
                expected = direct(networks[number - 2], L[index], ab[index], plan.sizes_px[number - 2], 28)
            for name, value in expected.items():
                assert part.sums[number].values[name][row] == pytest.approx(value, abs=TOLERANCES[name]), name


def test_pictures_are_input_networks_and_truth(made):
    """The first picture is gray, the last the photograph itself, those between are what was measured."""
    (_, L, ab), _, evaluator, plan = made
    pictures = evaluator.pictures(plan, 17)
    assert [picture.shape for picture in pictures] == [(28, 28, 3)] * 4
    assert np.ptp(pictures[0].astype(int), axis=2).max() == 0
    place = slice(6, 34)
    truth = lab2rgb(np.dstack([L[17][place, place] / 2.55, *ab[17][:, place, place]]))
    assert np.abs(pictures[-1] / 255 - truth).max() < 1 / 255
    mse = np.mean((pictures[1] / 255 - truth) ** 2)
    measured = evaluator.measure(plan, 1).sums[2].values["psnr_db"][1]
    assert -10 * np.log10(mse) == pytest.approx(measured, abs=0.1)  # 8 bits against float


def test_flip_measures_the_mean_with_the_mirror_image(made):
    """Color is the mean of that of the photograph and of that of its mirror image, turned back."""
    (_, L, ab), networks, evaluator, plan = made
    both = Evaluator(evaluator.checkpoints, precision="fp32", tta="flip", cache_dir=evaluator.cache_dir)
    with torch.inference_mode():
        L_net = torch.from_numpy(L[18][4:36, 4:36] / np.float32(127.5) - 1)[None, None]
        mean = (networks[0](L_net) + networks[0](L_net.flip(3)).flip(3)) / 2
    expected = compare(L[18], ab[18], 110 * mean[0, :, 2:30, 2:30].numpy(), 6, 28)["mse"]
    assert both.measure(plan, 1).sums[2].values["mse"][2] == pytest.approx(expected, abs=1e-6)
    assert evaluator.measure(plan, 1).sums[2].values["mse"][2] != pytest.approx(expected, abs=1e-5)


def test_a_limit_takes_the_first_photographs(made):
    """`images` cuts the last batch."""
    (ids, *_), _, evaluator, plan = made
    cut = DatasetPlan(plan.uri, "val", 5, plan.sizes_px, 28)
    assert evaluator.measure(cut, 0).sums[3].ids == ids[:5]


def test_a_network_of_nans_is_refused(tmp_path, one_thread):
    """What is no number ends the job with the checkpoint's name, and never stands in a table."""
    write_dataset_of(tmp_path / "data")
    model = write_checkpoint(tmp_path / "c")
    loaded = checkpoints.load(tmp_path / "c")
    name, weight = next((k, v) for k, v in loaded.weights.items() if v.is_floating_point())
    loaded.weights[name] = torch.full_like(weight, float("nan"))
    del model
    evaluator = Evaluator([loaded], precision="fp32", cache_dir=str(tmp_path / "cache"))
    with pytest.raises(CheckpointError, match=r"/c: predicts NaN \(photograph val/0.jpg\): try"):
        evaluator.measure(DatasetPlan(str(tmp_path / "data"), "val", 6, (32,), 32), 0)


def test_st_lpips_is_measured_where_its_package_is(made, monkeypatch):
    """With the package each row has one number per photograph; without it none."""
    _, _, evaluator, plan = made
    assert evaluator.measure(plan, 1).st_lpips == [] or "stlpips_pytorch" in sys.modules

    class Metric(torch.nn.Module):
        def forward(self, one, two, normalize):
            assert normalize
            assert 0 <= one.min() <= one.max() <= 1
            return (one - two).abs().mean((1, 2, 3), keepdim=True)

    module = types.ModuleType("stlpips_pytorch.stlpips")
    module.LPIPS = lambda net, variant, verbose: Metric()
    monkeypatch.setitem(sys.modules, "stlpips_pytorch", types.ModuleType("stlpips_pytorch"))
    monkeypatch.setitem(sys.modules, "stlpips_pytorch.stlpips", module)
    again = Evaluator(evaluator.checkpoints, precision="fp32", cache_dir=evaluator.cache_dir)
    found = again.measure(plan, 1).st_lpips
    assert [len(values) for values in found] == [3] * 4
    assert found[0] != found[2]


def described(**changes):
    facts = {"crop_px": 224, "stride": 8, "fixed_size_px": None, **changes}
    return Subject("runs/a", "regression", "0" * 64, 1, raycolor_version="1", **facts)


@pytest.mark.parametrize(
    ("changes", "wanted_px", "sizes"),
    [
        ({}, None, (224,)),
        ({}, 0, (256,)),
        ({}, 64, (64,)),
        ({"fixed_size_px": 224, "crop_px": 200}, None, (224,)),
        ({"network_px": 320}, None, (256,)),
    ],
)
def test_input_sizes(changes, wanted_px, sizes):
    """Trained size, all that is stored (also for a network with a size of its own), or what was asked for."""
    assert input_sizes([described(**changes)], stored_px=256, wanted_px=wanted_px, dataset="d") == sizes


@pytest.mark.parametrize(
    ("changes", "wanted_px", "stored_px", "error", "message"),
    [
        (
            {"fixed_size_px": 224},
            256,
            256,
            CheckpointError,
            r"runs/a: takes 224 px only, not --network-size 256: omit",
        ),
        ({}, 100, 256, CheckpointError, r"takes multiples of 8 px, not 100: give --network-size 96"),
        ({}, None, 128, ConfigError, r"d: stores squares of 128 px, fewer than the 224 for runs/a: give a smaller"),
        ({}, 8, 256, ConfigError, r"--network-size 8: SSIM needs 11 px or more"),
    ],
)
def test_sizes_that_cannot_be(changes, wanted_px, stored_px, error, message):
    """One line that names the checkpoint, the size and the fix."""
    with pytest.raises(error, match=message):
        input_sizes([described(**changes)], stored_px=stored_px, wanted_px=wanted_px, dataset="d")


def test_subjects_count_frozen_parameters_too(tmp_path):
    """`parameters` is all of the network."""
    model = write_checkpoint(tmp_path / "c")
    found = subject(checkpoints.load(tmp_path / "c"))
    assert found.parameters == sum(value.numel() for value in model.parameters())
    assert (found.crop_px, found.stride, found.method) == (32, model.stride, "gan")


def test_a_network_with_its_own_size_is_measured_as_colorize_shows_it_photographs(made, tmp_path):
    """The crop is resized to `input_px`, and what comes out is measured at the size that is stored."""
    network = build_model("unet", {"head": "bins", "pretrained": False, "input_px": 96, "pooling": 2}).eval()
    torch.nn.init.normal_(network.head.conv.weight, std=0.2)
    checkpoints.save(
        tmp_path / "own", network, method="unet", training={"crop_px": 32}, dataset={"image_size": 64}, metrics={}
    )
    checkpoint = checkpoints.load(str(tmp_path / "own"))
    about = subject(checkpoint)
    assert (about.network_px, about.is_own) == (96, True)
    assert FileColorizer(ColorizerConfig(checkpoint=str(tmp_path / "own"))).network_size == 96
    asked = ColorizerConfig(checkpoint=str(tmp_path / "own"), network_size=64)
    assert FileColorizer(asked).network_size == 64
    seen = []
    evaluator = Evaluator([checkpoint], precision="fp32", cache_dir=made[2].cache_dir)
    color = evaluator._networks[0].color
    evaluator._networks[0].color = lambda L_net: (seen.append(L_net.shape), color(L_net))[1]
    plan = replace(made[3], sizes_px=made[3].sizes_px[:1])
    assert len(evaluator.measure(plan, 0).sums) == 3
    assert {shape[2:] for shape in seen} == {(96, 96)}


@pytest.mark.parametrize(("crop_px", "shown"), [(64, 192), (128, 256), (256, 320), (512, 384)])
def test_small_crops_are_shown_as_colorize_shows_small_photographs(crop_px, shown):
    """Enlarged less than large ones, to a multiple of the stride; one of others sees every crop at its own size."""
    own = replace(subject(checkpoints.load("default")), network_px=384)
    assert own.shown_px(crop_px) == shown
    assert replace(own, is_own=False).shown_px(crop_px) == 384
    assert replace(own, network_px=None).shown_px(crop_px) == crop_px


def test_short_names_tell_paths_apart():
    """The last part, more parts where two would read alike, and never the name of a floor."""
    assert short_names(["regression", "runs/gan/"]) == ["regression", "gan"]
    assert short_names(["x/a/best", "x/b/best", "c"]) == ["a/best", "b/best", "c"]
    assert short_names(["runs/gray", "gray"], ["gray"]) == ["runs/gray", "gray (checkpoint)"]
    with pytest.raises(ConfigError, match="runs/a: named twice"):
        short_names(["runs/a", "runs/a"])


def test_an_imported_network_is_measured_like_ours(tmp_path, one_thread):
    """Its numbers are those of its own arithmetic; it sees a crop at its own size, that of its card or a fixed one."""
    photos = write_dataset_of(tmp_path / "data", val=3, size_px=41)["val"]
    net = onnx_made.Linear(1, 2)
    data = onnx_made.exported(net, batch=1)
    onnx_made.write_checkpoint(tmp_path / "free", data, license="CC-BY-NC-4.0", size={"min_px": 8, "default_px": 28})
    onnx_made.write_checkpoint(tmp_path / "fixed", data, size={"fixed_px": 64})
    loaded = [checkpoints.load(tmp_path / name) for name in ("free", "fixed")]
    free, fixed = (subject(one) for one in loaded)
    assert (free.license, free.network_px, fixed.network_px) == ("CC-BY-NC-4.0", 28, 64)
    assert free.parameters == sum(value.numel() for value in net.parameters())
    assert input_sizes([free, fixed], stored_px=41, wanted_px=None, dataset="d") == (41, 41)
    assert "license CC-BY-NC-4.0" in free.described
    evaluator = Evaluator(loaded, precision="fp32", cache_dir=str(tmp_path / "cache"))
    found = evaluator.measure(DatasetPlan(str(tmp_path / "data"), "val", 3, (28, 28), 28), 0)
    _, L, ab = photos
    weight, bias = net.weight.detach().numpy()[:, 0], net.bias.detach().numpy()[:, None, None]
    color = weight * L[1][6:34, 6:34] / 2.55 + bias
    expected = compare(L[1], ab[1], color, 6, 28)["mse"]
    assert found.sums[2].values["mse"][1] == pytest.approx(expected, abs=1e-5)
    # Stretched to 64 px and averaged back, edges get softer.
    assert found.sums[3].values["mse"][1] == pytest.approx(expected, rel=0.3)


def test_a_network_sees_photographs_as_large_as_colorize_shows_them(tmp_path, one_thread):
    """One of others at its card's default size, whatever the dataset stores; color comes back to the stored pixels."""
    write_dataset_of(tmp_path / "data", val=1, size_px=41)
    (tmp_path / "seeing.py").write_text(
        "import numpy as np\n"
        "def network():\n"
        "    def predict(planes):\n"
        "        predict.seen.append(planes[0].shape)\n"
        "        return [(np.ones((9, 9, 2), np.float32), None)]\n"
        "    predict.seen, predict.multiple_of = [], 96\n"
        "    return predict\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        loaded = checkpoints.load("seeing:network")
        one = subject(loaded)
        assert (one.network_px, one.parameters) == (288, None)
        evaluator = Evaluator([loaded], precision="fp32", cache_dir=str(tmp_path / "cache"))
    found = evaluator.measure(DatasetPlan(str(tmp_path / "data"), "val", 1, (41,), 41), 0)
    assert set(evaluator._networks[0]._predict.seen) == {(288, 288)}
    assert found.sums[2].values["colorfulness"][0] > 0
