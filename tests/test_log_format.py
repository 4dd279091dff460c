"""Laws of `--log-format json`: every line on standard error is an object, in success, failure and bad usage."""

import datetime
import json
import logging

import pytest

from raycolor import cli
from raycolor.errors import CheckpointError
from raycolor.progress import JsonLines, Progress, logs_json


@pytest.fixture(autouse=True)
def _own_logging():
    """Give the root logger back as it was: other tests read its handlers."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)


def objects(text):
    """Return the objects of a JSON-lines text, after checking what every one of them has."""
    found = [json.loads(line) for line in text.splitlines()]
    for line in found:
        assert {"time", "level", "event", "message", "logger", "fields"} <= set(line)
        assert datetime.datetime.fromisoformat(line["time"]).utcoffset() == datetime.timedelta(0)
    return found


def run_with(monkeypatch, job, *flags):
    """Run `raycolor colorize` with a job of our own in place of the real one, which would start Ray."""
    monkeypatch.setattr("raycolor.colorize.driver.run", job)
    return cli.run(["colorize", "a", "b", *flags])


def test_progress_and_end_are_objects(monkeypatch, capsys):
    """Progress tells its numbers as fields, and the last line is the exit code."""

    def job(config):
        now = [0.0]
        with Progress("colorize", 40, already=10, clock=lambda: now[0]) as progress:
            for _ in range(15):
                now[0] += 1.0
                progress.update(1, failed=2)
        return 3

    assert run_with(monkeypatch, job, "--log-format", "json") == 3
    lines = objects(capsys.readouterr().err)
    assert [(line["level"], line["event"]) for line in lines] == [
        ("info", "progress"),
        ("info", "progress_end"),
        ("info", "done"),
    ]
    assert lines[0]["fields"] == {
        "title": "colorize", "unit": "images", "done": 20, "total": 40, "already": 10,
        "per_second": 1.0, "seconds_left": 20.0, "failed": 2,
    }  # fmt: skip
    assert lines[0]["message"] == "colorize: images 20/40 | 1.0/s | failed 2 | 20 s left"
    assert lines[-1]["fields"] == {"exit_code": 3}


@pytest.mark.parametrize("flags", [("--log-format", "json"), ("--log-format=json",)])
def test_a_failure_is_an_object(flags, monkeypatch, capsys):
    """What ends a command is one object with its exit code and the name of the error, and no plain line beside it."""

    def job(config):
        raise CheckpointError("model: is\nbroken")

    assert run_with(monkeypatch, job, *flags) == 1
    (line,) = objects(capsys.readouterr().err)
    assert (line["level"], line["event"], line["message"]) == ("error", "error", "model: is broken")
    assert line["fields"] == {"exit_code": 1, "kind": "CheckpointError"}


def test_bad_usage_is_an_object(capsys):
    """Also a command line that click refuses, before the option itself is read."""
    assert cli.run(["colorize", "a", "b", "--no-such", "--log-format", "json"]) == 2
    (line,) = objects(capsys.readouterr().err)
    assert "--no-such" in line["message"]
    assert line["fields"]["exit_code"] == 2


def test_warnings_and_tracebacks_are_objects(monkeypatch, capsys):
    """A warning of Python and a traceback of several lines stay one line each."""

    def job(config):
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("old\nways", UserWarning, stacklevel=1)
        try:
            raise OSError("disk")
        except OSError:
            logging.getLogger("raycolor.test").warning("%s: internal error", "a.jpg", exc_info=True)
        return 0

    # pytest catches warnings itself; in a command nobody does.
    assert run_with(monkeypatch, job, "--log-format", "json") == 0
    lines = objects(capsys.readouterr().err)
    trace = next(line for line in lines if line["message"] == "a.jpg: internal error")
    assert "OSError: disk" in trace["traceback"]
    assert any("old\nways" in line["message"] for line in lines)


def test_text_is_the_default(monkeypatch, capsys):
    """Without the flag nothing is JSON, and success says nothing more than before."""
    assert run_with(monkeypatch, lambda config: 0) == 0
    assert not logs_json()
    assert capsys.readouterr().err == ""


def test_json_takes_the_place_of_the_bar(monkeypatch):
    """On a terminal, too, JSON gets lines: a bar would be written between them."""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    logging.getLogger().handlers[:] = [handler]
    with Progress("colorize", 1) as progress:
        assert progress._bar is None


EVIL = "a\x1b[2J\n\u202egpj.exe"


@pytest.mark.parametrize("style", ["text", "json"])
def test_keys_hide_nothing_in_logs(monkeypatch, capsys, style):
    """A key is one line and all of it is seen, in a log line and in the error that ends a command."""

    def job(config):
        logging.getLogger("raycolor.test").warning("%s: odd", EVIL)
        raise CheckpointError(EVIL)

    assert run_with(monkeypatch, job, "--log-format", style) == 1
    told = capsys.readouterr().err
    assert not [char for char in told if char in EVIL and not char.isprintable() and char != "\n"]
    lines = told.splitlines()
    if style == "json":
        assert objects(told)[0]["message"] == f"{EVIL}: odd"
        assert "\\u202e" in lines[0]
    else:
        assert lines[0] == "a\\x1b[2J\\n\\u202egpj.exe: odd"
    assert len(lines) == 2
    assert "\\u202egpj.exe" in lines[1]


def test_what_json_cannot_say_is_text():
    """A field of any type, and any language, ends in a line that can be read."""
    record = logging.LogRecord("raycolor", logging.INFO, "", 1, "Fotografía %d", (7,), None)
    record.event, record.fields = "odd", {"when": datetime.date(2026, 1, 2)}
    line = json.loads(JsonLines().format(record))
    assert line["message"] == "Fotografía 7"
    assert line["fields"] == {"when": "2026-01-02"}
