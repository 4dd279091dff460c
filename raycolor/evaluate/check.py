"""Check checkpoints and datasets before Ray starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from raycolor.dataset.info import DatasetInfo, read_dataset
from raycolor.errors import DatasetError
from raycolor.evaluate.config import EvaluateConfig
from raycolor.evaluate.subjects import FLOORS, DatasetPlan, Subject, input_sizes, short_names, subject
from raycolor.models.card import say_license
from raycolor.models.checkpoints import Checkpoint, load
from raycolor.storage import absolute, open_store


@dataclass(frozen=True)
class Checked:
    """A comparison that can start.

    Attributes:
        config: what was asked for.
        checkpoints: loaded, in the order asked for.
        subjects: what the table calls each checkpoint -> its description, in the same order.
        datasets: what the table calls each dataset -> its plan and its dataset.json.
    """

    config: EvaluateConfig
    checkpoints: list[Checkpoint]
    subjects: dict[str, Subject]
    datasets: dict[str, tuple[DatasetPlan, DatasetInfo]]


def check(config: EvaluateConfig) -> Checked:
    """Read checkpoints and datasets and refuse what can be refused without Ray.

    Raises:
        CheckpointError: a checkpoint is missing, damaged, or takes another size.
        DatasetError: a dataset is missing, of another version, damaged, or has no photographs in the split; or none has
            photographs to train on, whose mean is a floor.
        ConfigError: a path named twice, or a size larger than the photographs.
        StorageError: a place cannot be reached.
    """
    data = [absolute(uri) for uri in config.data]
    names, labels = short_names(config.checkpoint, FLOORS), short_names(data)
    infos = [read_dataset(open_store(uri, must_exist=True)) for uri in data]
    loaded = [load(source) for source in config.checkpoint]
    for name, checkpoint in zip(names, loaded, strict=True):
        if checkpoint.card is not None:
            say_license(name, checkpoint.card)
    subjects = [subject(checkpoint) for checkpoint in loaded]
    plans = [_plan(uri, info, subjects, config) for uri, info in zip(data, infos, strict=True)]
    if not any(shard.split == "train" for info in infos for shard in info.shards):
        raise DatasetError(
            f"{data[0]}: no photographs in train, whose mean is the floor 'mean color': "
            "add a dataset that has some with --data, or prepare it again"
        )
    return Checked(
        config,
        loaded,
        dict(zip(names, subjects, strict=True)),
        {label: (plan, info) for label, plan, info in zip(labels, plans, infos, strict=True)},
    )


def _plan(uri: str, info: DatasetInfo, subjects: Sequence[Subject], config: EvaluateConfig) -> DatasetPlan:
    """Check that a dataset can be measured."""
    count = sum(shard.rows for shard in info.shards if shard.split == config.split)
    if not count:
        have = ", ".join(f"{name} {number:,}" for name, number in info.counts.items()) or "nothing"
        raise DatasetError(
            f"{uri}: no photographs in split {config.split!r} (it holds {have}): "
            "give another --split or prepare it again"
        )
    sizes = input_sizes(subjects, stored_px=info.image_size, wanted_px=config.network_size, dataset=uri)
    return DatasetPlan(uri, config.split, min(count, config.images or count), sizes, min(sizes))
