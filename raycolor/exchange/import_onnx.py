"""`raycolor import`: an ONNX file and a card become a checkpoint."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from raycolor.child_process import Child, ChildDiedError
from raycolor.config import load_yaml
from raycolor.errors import CheckpointError, ConfigError
from raycolor.exchange.config import ImportConfig
from raycolor.exchange.fit import adapted, contradiction, misfit, proposals
from raycolor.exchange.probe import TASK, Answers, Listing
from raycolor.models.card import BUILT_IN, Card, read_card, say_license
from raycolor.models.onnx_checkpoint import to_files
from raycolor.storage import open_store

logger = logging.getLogger(__name__)


def run(config: ImportConfig) -> int:
    """Import a network; returns the exit code.

    Raises:
        ConfigError: no local file, no card, or one that does not fit the file; says what was found and which would fit.
        CheckpointError: the file is no network that can be run.
        StorageError: the checkpoint cannot be written.
    """
    if "://" in config.file:
        raise ConfigError(f"{config.file}: only local files are imported, into a folder or S3: download it first")
    path = Path(config.file)
    # Whatever the file makes onnxruntime do, it does to a child, for a time and in a memory that have an end.
    with Child(TASK, path.name, timeout_s=config.timeout_s) as child:
        try:
            listing, data = child.ask(str(path))
            card = choose_card(config.card, listing, path.name)
            answers: Answers = child.ask(card)[0]
        except ChildDiedError as exc:
            raise CheckpointError(f"{config.file}: {exc}: it is not imported; --timeout-s gives it longer") from exc
    wrong = contradiction(card, answers)
    if wrong is not None:
        raise ConfigError(f"{config.file}: card {card.name}: {wrong}: try {proposals(listing, card.name)}")
    dest = open_store(config.checkpoint)
    for name, file in to_files(data, card).items():
        dest.put(name, file)
    say_license(config.checkpoint, card)
    return 0


def choose_card(wanted: str | None, listing: Listing, source: str) -> Card:
    """Return the card of a file: a built-in one, one in a file, or what the ONNX file says of itself.

    Raises:
        ConfigError: there is none, or it does not fit.
    """
    if wanted in BUILT_IN:
        card = adapted(BUILT_IN[wanted], listing)
    elif wanted is not None:
        if not Path(wanted).is_file():
            raise ConfigError(f"--card {wanted}: neither a file nor one of {', '.join(BUILT_IN)}")
        card = read_card(load_yaml(wanted), wanted)
    elif listing.card is not None:
        try:
            said = json.loads(listing.card)
        except ValueError as exc:
            raise ConfigError(f"{source}: the card in it is no JSON: give --card") from exc
        card = read_card(said, f"{source}: the card in it")
    else:
        raise ConfigError(f"{source}: says nothing of what it reads and answers: by its shapes, {proposals(listing)}")
    why = misfit(card, listing)
    if why is not None:
        raise ConfigError(f"{source}: card {card.name} does not fit: {why}: try {proposals(listing, card.name)}")
    return card
