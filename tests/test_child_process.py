"""Laws of the child process that decoders work in."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from raycolor import child_process
from raycolor.child_process import Child, ChildDiedError, ChildStartError

TASK = """
import os, sys, time
def make(options, ask):
    def work(request, file):
        if request == "hang": time.sleep(60)
        if request == "ask": return ask("what?"), b""
        if request == "pid": return os.getpid(), b""
        return (options, request), file * 2
    return work
sys.modules["task"] = sys.modules["__main__"]
"""
SERVE = "from raycolor import child_process\nchild_process.serve()\n"


def child(start="", **options):
    """Return a child with the task above; `start` is what it does first."""
    command = [sys.executable, "-c", TASK + start + "\n" + SERVE]
    return Child("task:make", "settings", timeout_s=2.0, command=command, **options)


def test_a_child_answers_and_asks():
    """Options, request and file arrive; a question is answered by the parent."""
    with child() as one:
        assert one.ask("request", b"ab") == (("settings", "request"), b"abab")
        assert one.ask("ask", answer=str.upper)[0] == "WHAT?"


def test_a_question_that_cannot_be_answered_leaves_no_child_out_of_step():
    """The error passes, and the next request gets its own answer."""

    def refuse(question):
        raise ZeroDivisionError(question)

    with child() as one:
        with pytest.raises(ZeroDivisionError, match="what"):
            one.ask("ask", answer=refuse)
        assert one.ask("next")[0] == ("settings", "next")


def test_a_child_that_does_not_start_is_started_again(tmp_path):
    """Once: a machine may have been short of memory for a moment."""
    start = f"import pathlib\np = pathlib.Path({str(tmp_path / 'begun')!r})\nif not p.exists(): p.touch(); os._exit(3)"
    with child(start) as one:
        assert one.ask("request")[0] == ("settings", "request")


@pytest.mark.parametrize(("start", "why"), [("os._exit(3)", "exit code 3"), ("time.sleep(60)", "hung for 1 s")])
def test_a_child_that_never_starts_is_no_requests_fault(start, why, monkeypatch):
    """Neither its death nor its silence goes on for ever, or is an image's failure."""
    monkeypatch.setattr(child_process, "_START_S", 1.0)
    with child(start) as one, pytest.raises(ChildStartError, match=why):
        one.ask("request")


def test_the_first_answer_may_have_another_limit():
    """Reading waits for a store as long as it takes; a decoder has its own limit."""
    with child() as one, pytest.raises(ChildDiedError, match="hung for 1 s"):
        one.ask("hang", timeout_s=1.0)


@pytest.mark.skipif(not Path("/proc").exists(), reason="Linux ends a child with its parent")
def test_a_child_ends_with_its_parent():
    """Also in the middle of a request that never ends."""
    parent = f"""
import threading
from raycolor.child_process import Child
one = Child("task:make", None, timeout_s=600.0, command={[sys.executable, "-c", TASK + SERVE]!r})
print(one.ask("pid")[0], flush=True)
one.ask("hang")
"""
    process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True)
    pid = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.communicate()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return
            os.kill(pid, 0)
        except OSError:
            return
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    pytest.fail("the child lives")
