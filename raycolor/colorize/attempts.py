"""How often a shard was begun, and what it came to when workers die over it: `attempts/shard-N`.

The first attempt colorizes in the worker, the next ones in a child process. A worker that dies all the same, be it by
Ray's memory monitor, is followed by attempts that take one photograph after the other and write down each: what a
worker died over twice has failed. At last the remainder fails, so that no shard is begun for ever.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from typing import Any, Final

from raycolor.colorize.job_folder import ATTEMPTS
from raycolor.colorize.outcomes import Outcome
from raycolor.storage import ObjectStore, get_if_there

ONE_BY_ONE: Final = 4
"""The attempt from which on each photograph is written down."""
LAST: Final = 12
"""The attempt that only gives up what is left."""
DEATHS: Final = 2
"""Of workers over one photograph."""


class Attempts:
    """The record of one shard.

    Args:
        dest: the job's destination.
        shard: its number.
        run: names this run of the driver. Workers of an earlier one may have died with their driver, so that of all its
            attempts one counts.
    """

    def __init__(self, dest: ObjectStore, shard: int, run: str) -> None:
        self._dest, self._run, self._key = dest, run, f"{ATTEMPTS}shard-{shard:06d}"
        known = self._read()
        same = known.get("run") == run
        self.begun = int(known.get("begun", 0)) if same else min(1, int(known.get("begun", 0)))
        """How often it was begun before."""
        self._deaths = Counter[str](known.get("deaths", {}) if same else {})
        if same and known.get("at"):
            self._deaths[known["at"]] += 1
        self.done = {row["key"]: Outcome(**row) for row in (known.get("done", []) if same else [])}
        """Outcomes that an earlier attempt wrote down, by key."""

    def _read(self) -> dict[str, Any]:
        data = get_if_there(self._dest, self._key)
        if data is None:
            return {}
        try:
            known = json.loads(data)
        except ValueError:
            known = 1
        # Of an earlier raycolor: a bare number.
        return known if isinstance(known, dict) else {"begun": int(known)}

    def begin(self) -> int:
        """Record that the shard has begun; return how often it has, including this time."""
        self.begun += 1
        self._write()
        return self.begun

    def withdraw(self) -> None:
        """Take back the last beginning: the shard did not cause its end."""
        self.begun -= 1
        if self.begun:
            self._write()
        else:
            self.end()

    def at(self, key: str) -> None:
        """Write down that the worker is about to begin a photograph."""
        self._write(key)

    def add(self, outcome: Outcome) -> None:
        """Write down what became of a photograph."""
        self.done[outcome.key] = outcome
        self._write()

    def given_up(self, key: str) -> str | None:
        """Say why a photograph is not tried again, if it is not."""
        over, deaths = "it", self._deaths[key]
        if deaths < DEATHS:
            if self.begun < LAST:
                return None
            over, deaths = "its shard", self.begun - 1
        return f"workers died over {over} {deaths} times: is there memory enough? try with fewer --workers"

    def end(self) -> None:
        """Forget the shard: it is done."""
        self._dest.delete(self._key)

    def _write(self, at: str | None = None) -> None:
        known = {
            "run": self._run,
            "begun": self.begun,
            "at": at,
            "deaths": self._deaths,
            "done": [asdict(outcome) for outcome in self.done.values()],
        }
        self._dest.put(self._key, json.dumps(known).encode())
