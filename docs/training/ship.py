"""Put a trained checkpoint among those that come with raycolor: python docs/training/ship.py RUN NAME [KEY=VALUE ...]

Weights are stored as float16 where that is wide enough, and computed with as float32. `bottleneck=N` narrows the
autoencoder: its two dense layers have nothing between them, so that their product is cut to that rank by a singular
value decomposition, which is the nearest autoencoder of that bottleneck. `temperature=T`, `rebalance=R`, `saturation=S`
and `shrinkage=K` change how the U-Net's bins head turns its distribution into color (see `reading.py`), `input_px=N`
and `pooling=N` at what size. RUN may be NAME itself. The script prints by how much the colors of a made picture change,
in Lab units; `raycolor evaluate RUN NAME` what that does to metrics.
"""

import sys

import numpy as np
import torch

from raycolor.color.scale import net_to_ab
from raycolor.models import checkpoints
from raycolor.models.blocks import ColorNet
from raycolor.models.build import build_model


def narrow(network: ColorNet, bottleneck: int) -> ColorNet:
    """Return the autoencoder whose dense layers are the best approximation of rank `bottleneck`."""
    dense = ("squeeze", "expand")
    state = {key: value.double() for key, value in network.state_dict().items() if key.startswith(dense)}
    left, left_r = torch.linalg.qr(state["expand.weight"])
    right, right_r = torch.linalg.qr(state["squeeze.weight"].T)
    u, s, v = torch.linalg.svd(left_r @ right_r.T)
    root = s[:bottleneck].sqrt()
    state["expand.bias"] = state["expand.bias"] + state["expand.weight"] @ state["squeeze.bias"]
    state["expand.weight"] = left @ (u[:, :bottleneck] * root)
    state["squeeze.weight"] = (right @ (v[:bottleneck].T * root)).T
    state["squeeze.bias"] = torch.zeros(bottleneck)
    print(f"rank {bottleneck} keeps {float(s[:bottleneck].square().sum() / s.square().sum()):.6f} of the energy")
    narrowed = build_model("autoencoder", {**network.config(), "bottleneck": bottleneck})
    narrowed.load_state_dict({**network.state_dict(), **{key: value.float() for key, value in state.items()}})
    return narrowed.eval()


def with_settings(network: ColorNet, settings: dict[str, int | float]) -> ColorNet:
    """Return the network, or all of an ensemble, with other values of settings that change no weight."""
    config = network.config()
    members = config.get("members")
    if members is None:
        config |= settings
    else:
        config["members"] = [{**one, "config": {**one["config"], **settings}} for one in members]
    changed = build_model(network.name, config, pretrained=False)
    changed.load_state_dict(network.state_dict())
    return changed.eval()


def main(run: str, name: str, *changes: str) -> None:
    """Store, load again, compare."""
    trained = checkpoints.load(run)
    as_trained = trained.metrics.get("as_trained", trained.metrics)
    folder = checkpoints.SHIPPED / name
    network = trained.model()
    settings: dict[str, int | float] = {}
    for key, _, value in (change.partition("=") for change in changes):
        settings[key] = int(value) if value.isdigit() else float(value)
    if "bottleneck" in settings:
        network = narrow(network, int(settings.pop("bottleneck")))
    if settings:
        network = with_settings(network, settings)
    checkpoints.save(
        folder,
        network,
        method=trained.method,
        training=trained.training,
        dataset=trained.dataset,
        metrics={"as_trained": as_trained, "changed": list(changes)} if changes else as_trained,
        dtype="float16",
    )
    L_net = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (1, 1, 28, 28)).astype(np.float32))
    L_net = torch.nn.functional.interpolate(L_net, size=(224, 224), mode="bicubic")
    with torch.inference_mode():
        before, after = (net_to_ab(one.model()(L_net)) for one in (trained, checkpoints.load(str(folder))))
    size_mb = (folder / checkpoints.WEIGHTS_FILE).stat().st_size / 1e6
    print(f"{folder}: {size_mb:.1f} MB, ab differs by at most {float((before - after).abs().max()):.3f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
