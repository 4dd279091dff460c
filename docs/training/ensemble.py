"""Let trained checkpoints answer together: python docs/training/ensemble.py [--mirror] OUT CHECKPOINT CHECKPOINT ...

Written is one checkpoint, which reads colors off the mean of their logits (of networks without bins heads, the mean of
their colors). Networks that differ err differently, so that it is nearer to the truth than each, and as slow as all.
`raycolor evaluate OUT CHECKPOINT ...` shows by how much. With `--mirror` every second one sees photographs mirrored.
`python docs/training/ensemble.py --member N ENSEMBLE OUT` takes network N, from 0, out again, to train it further.
"""

import sys
from pathlib import Path

from raycolor.models import checkpoints
from raycolor.models.build import build_model


def take(number: int, source: str, out: str) -> None:
    """Store one member."""
    loaded = checkpoints.load(source)
    member = loaded.model().members[number]
    training = {"crop_px": loaded.training["crop_px"], **loaded.training["members"][number]}
    checkpoints.save(
        Path(out), member, method=member.name, training=training, dataset=loaded.dataset,
        metrics=loaded.metrics.get("as_trained", loaded.metrics)["members"][number],
    )  # fmt: skip


def main(out: str, *sources: str) -> None:
    """Load all, store one."""
    if out == "--member":
        return take(int(sources[0]), *sources[1:])
    mirror = out == "--mirror"
    if mirror:
        out, *sources = sources
    members = [checkpoints.load(source) for source in sources]
    if len(members) < 2:
        sys.exit("name two checkpoints or more")
    first = members[0]
    for one in members[1:]:
        if one.dataset.get("image_size") != first.dataset.get("image_size"):
            sys.exit(
                f"{one.source}: trained on photographs of another size than {first.source}: choose ones that agree"
            )
    network = build_model("ensemble", {"members": [one.network for one in members], "mirror": mirror}, pretrained=False)
    network.load_state_dict(
        {f"members.{i}.{key}": value for i, one in enumerate(members) for key, value in one.weights.items()}
    )
    checkpoints.save(
        Path(out),
        network.eval(),
        method="ensemble",
        training={"crop_px": first.training.get("crop_px"), "members": [one.training for one in members]},
        dataset=first.dataset,
        metrics={"members": [one.metrics for one in members]},
    )
    print(f"{out}: {', '.join(one.name for one in members)} together")


if __name__ == "__main__":
    main(*sys.argv[1:])
