"""The commands, as `raycolor NAME …` and as `jobs/NAME.py …`."""

from __future__ import annotations

import importlib
import itertools
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from raycolor import __version__
from raycolor.errors import RaycolorError
from raycolor.flags import JobCommand, params_of, show_all
from raycolor.progress import JsonLines, TextLines, logs_json, printable
from raycolor.signals import Terminated, listening

if TYPE_CHECKING:
    from raycolor.config import Frozen

logger = logging.getLogger(__name__)

DONE, BAD_USAGE, INTERRUPTED, TERMINATED = 0, 2, 130, 143


class Job(NamedTuple):
    """One command; its settings and what runs it stand in the folder of its name, if they are not said."""

    summary: str
    arguments: tuple[str, ...]
    epilog: str = ""
    model: str = ""
    run: str = ""
    file: str = ""  # metavar of the settings file, where it is an argument and not --config
    resolve: str = ""  # function that completes the settings, for --print-config
    script: bool = True  # whether it can be submitted to a cluster, as jobs/NAME.py


# Names only: `raycolor --help` must not import pydantic, torch or Ray.
JOBS = {
    "prepare": Job(
        "Convert photographs to a Lab dataset for training.",
        ("source", "dataset"),
        "Places365: the validation photographs of 256x256 (val_256.tar, 36,500 files) are distributed by MIT at "
        "places2.csail.mit.edu for non-commercial research and education; read their terms, download the file, and "
        "give it as SOURCE without unpacking it. Any folder of color photographs will do as well.",
    ),
    "train": Job(
        "Train a colorization network on a Lab dataset.",
        ("method",),
        "The same command continues a training that was stopped; with more --epochs it goes on with a finished one. "
        "The options of a network (network.KEY) are shown by `raycolor train METHOD --print-config`.",
        resolve="raycolor.training.settings:resolve",
    ),
    "tune": Job(
        "Search hyperparameters: run many trainings and report on them.",
        (),
        "SWEEP.yaml is a file such as those of tune_configs/; flags and --set (base.epochs=3) override it. The report, "
        "OUT/report/index.html, is updated during the sweep. The same command continues a sweep that was stopped.",
        file="SWEEP.yaml",
    ),
    "evaluate": Job(
        "Compare checkpoints: one table of every metric, with photographs.",
        ("checkpoint",),
        "Open OUT/index.html; table.csv and table.md hold the same numbers. Every table has two floors: gray, and the "
        "mean color of the dataset's training photographs.",
    ),
    "plan": Job(
        "Say what an archive holds, and estimate time and cost of colorizing it.",
        ("source",),
        "Lists SOURCE, reads a sample, and colorizes it in memory to measure this machine's CPU. Writes no photograph "
        "and needs no Ray. The same seed gives the same sample.",
    ),
    "colorize": Job(
        "Colorize an archive of black-and-white photographs.",
        ("source", "dest"),
        "Writes one outcome per input to DEST/_raycolor/outcomes, totals to summary.json and a page to report.html. "
        "The same command continues a job that was stopped. When the job has finished, the same command makes deleted "
        "outputs again and reports new files in SOURCE. Exit codes: 0 done, 1 failed, 2 bad usage, 3 more images "
        "failed than --max-failed allows; such a job stops early, from 500 outcomes on.",
    ),
    "compare": Job(
        "Show what two to four jobs made of the same photographs, on one page.",
        ("out",),
        "Takes DEST of jobs of `raycolor colorize`, finished or not. The page holds all its pictures; of thousands of "
        "photographs it shows a sample.",
    ),
    "review": Job(
        "Look at a finished job's photographs and decide about each, on a page.",
        ("dest",),
        "Serves a page on 127.0.0.1 until Ctrl-C, and writes decisions to DEST/_raycolor/review.csv as they are made. "
        "`raycolor colorize DEST/_raycolor/review.csv` applies them.",
        script=False,
    ),
    "sign": Job(
        "Sign the outputs of a finished job with Content Credentials (C2PA).",
        ("dest",),
        "Says in every colorized output what was made, from which original, by which network; needs the package of "
        "`pip install 'raycolor[sign]'`. No network is asked: no time-stamp, no list of trusted certificates. The same "
        "command continues what was stopped, and signs what was made since; nothing is signed twice.",
    ),
    "verify": Job(
        "Check the outputs of a finished job against its outcomes.",
        ("dest",),
        "Reads every output and changes nothing: says which are missing or have other bytes than were written or "
        "signed, which signatures are missing or not valid, and which files in DEST the job did not make. Exit code 1 "
        "if anything is missing or has changed.",
    ),
    "package": Job(
        "Pack the outputs and records of a finished job as a BagIt bag.",
        ("dest", "out"),
        "Copies every output into OUT, compares it with its outcome on the way, and changes nothing in DEST. The same "
        "command continues a package that was stopped, and brings up to date one that was made before a later run.",
    ),
    "import": Job(
        "Make a checkpoint of a network that others published as an ONNX file.",
        ("file", "checkpoint"),
        "The network is tried first, in a process of its own. The checkpoint is taken wherever one is: colorize, plan, "
        "evaluate. docs/other-colorizers.md has where networks are published, docs/formats.md has the card.",
        model="raycolor.exchange.config:ImportConfig",
        run="raycolor.exchange.import_onnx:run",
    ),
    "export": Job(
        "Write a checkpoint as an ONNX file, with its card, for other programs.",
        ("checkpoint", "file"),
        model="raycolor.exchange.config:ExportConfig",
        run="raycolor.exchange.export_onnx:run",
    ),
    "init": Job(
        "Write sweep files, cluster scripts, a dashboard and a sample.",
        ("folder",),
        model="raycolor.starter.write:InitConfig",
        run="raycolor.starter.write:run",
        script=False,
    ),
}


class LazyGroup(click.Group):
    """Build a command, and import what it needs, when it is named."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(JOBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        job = JOBS.get(cmd_name)
        return None if job is None else _command(cmd_name, job)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, job.summary) for name, job in JOBS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="raycolor")
def cli() -> None:
    """Colorize black-and-white photographs, and train the networks that do it, on Ray.

    SOURCE, DEST, DATASET and RUN are local paths or s3://bucket/prefix. Without --address (or RAY_ADDRESS) a job
    starts a local Ray of its own; a small one of colorize needs none.
    """


def _command(name: str, job: Job) -> click.Command:
    """Make the click command of a job from the fields of its configuration model."""
    model: type[Frozen] = _named(job.model or f"raycolor.{name}.config:{name.title()}Config")
    params = params_of(model, job.arguments)
    if job.file:
        params.insert(0, click.Argument(["config_file"], metavar=job.file))
    else:
        params.append(
            click.Option(["--config", "config_file"], metavar="FILE.yaml", help="file of settings; flags override it")
        )
    params += [
        click.Option(["--set", "sets"], multiple=True, metavar="KEY=VALUE", help="any setting by its dotted key"),
        click.Option(
            ["--print-config"], is_flag=True, help="print the settings as a file that --config takes, and end"
        ),
        click.Option(
            ["--log-level"],
            type=click.Choice(["debug", "info", "warning"]),
            default="info",
            help="least that is logged",
        ),
        click.Option(
            ["--log-format"],
            type=click.Choice(["text", "json"]),
            default="text",
            help="json: one object per line on standard error, with time, level, event, message and fields",
        ),
        click.Option(
            ["--help-all"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=show_all,
            help="show this help with every flag",
        ),
    ]

    def callback(
        config_file: str | None, sets: Sequence[str], print_config: bool, log_level: str, log_format: str, **given: Any
    ) -> int:
        from raycolor.config import as_yaml, load_config

        _configure_logging(log_level, log_format)
        first, *others = job.arguments or ("",)
        if others and given[first] == () and given[others[0]] is not None:
            # One value alone is the first argument's, though that takes any number of them.
            given[first], given[others[0]] = (given[others[0]],), None
        flags = {key: value for key, value in given.items() if value is not None and value != ()}
        config = load_config(model, file=config_file, sets=sets, flags=flags, may_miss=print_config)
        if print_config:
            click.echo(as_yaml(_named(job.resolve)(config) if job.resolve else config), nl=False)
            return DONE
        run: Callable[[Any], int] = _named(job.run or f"raycolor.{name}.driver:run")
        return run(config)

    return JobCommand(name, model, params=params, callback=callback, help=job.summary, epilog=job.epilog)


def _named(name: str) -> Any:
    """Import what `module:name` names."""
    module, attribute = name.split(":")
    return getattr(importlib.import_module(module), attribute)


def _configure_logging(level: str, style: str) -> None:
    logging.basicConfig(level=level.upper(), stream=sys.stderr, force=True)
    # As JSON everything on standard error has to be an object, Python's own warnings too.
    logging.captureWarnings(style == "json")
    for handler in logging.getLogger().handlers:
        handler.setFormatter(JsonLines() if style == "json" else TextLines())
    for noisy in ("ray", "botocore", "boto3", "urllib3", "numba", "PIL", "tifffile", "matplotlib"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def run(argv: Sequence[str]) -> int:
    """Run one command and give its exit code; every user error ends in one line on standard error."""
    if _wants_json(argv):
        _configure_logging("info", "json")  # a mistake in the command line itself is told as JSON too
    try:
        with listening(), _worker_ahead(argv):
            code = cli.main(args=list(argv), prog_name="raycolor", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as exc:
        click.echo(exc.format_message())
        return BAD_USAGE
    except click.ClickException as exc:
        return _fail(exc.format_message(), BAD_USAGE, exc)
    except RaycolorError as exc:
        return _fail(" ".join(str(exc).split()), exc.exit_code, exc)
    except (KeyboardInterrupt, click.exceptions.Abort) as exc:
        # Click turns both into its Abort.
        if isinstance(exc, Terminated) or isinstance(exc.__cause__, Terminated):
            return _fail("stopped by SIGTERM; run the same command again to continue", TERMINATED, exc)
        return _fail("stopped; run the same command again to continue", INTERRUPTED, exc)
    code = code if isinstance(code, int) else DONE
    if logs_json():
        logger.info("done", extra={"event": "done", "fields": {"exit_code": code}})
    return code


@contextmanager
def _worker_ahead(argv: Sequence[str]) -> Iterator[None]:
    """Have a worker's process import what it needs while the settings of `colorize` are still being read."""
    if list(argv[:1]) != ["colorize"]:
        yield
        return
    from raycolor.colorize import ahead

    ahead.begin(argv[1:])
    try:
        yield
    finally:
        ahead.drop()


def _wants_json(argv: Sequence[str]) -> bool:
    """Whether a command line has `--log-format json`, even if the rest of it is wrong."""
    return "--log-format=json" in argv or ("--log-format", "json") in itertools.pairwise(argv)


def _fail(message: str, code: int, exc: BaseException) -> int:
    """Log in one line what ended the command; return the exit code."""
    if logs_json():
        fields = {"exit_code": code, "kind": type(exc).__name__}
        logger.error(message, extra={"event": "error", "fields": fields})
    else:
        click.echo(f"raycolor: {printable(message)}", err=True)
    return code


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of the console script and of jobs/*.py: end the process with the command's exit code."""
    code = run(sys.argv[1:] if argv is None else argv)
    sys.stdout.flush()
    sys.stderr.flush()
    if code in (INTERRUPTED, TERMINATED):
        # Everything has been given back. If the start of Ray was cut short, Ray aborts a process that ends as usual.
        os._exit(code)
    sys.exit(code)
