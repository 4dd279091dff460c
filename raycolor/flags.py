"""The flags of a command and its help, made from its configuration model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, get_args, get_origin

import click

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from raycolor.config import Frozen, Group

_GENERAL = "Options"


class Flag(click.Option):
    """One setting as a flag.

    Attributes:
        group: the heading it stands under in the help.
        on_by_default: of a switch: its default; None where both ways mean something.
    """

    group: Group | None = None
    on_by_default: bool | None = None

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Show of `--a / --no-a` the one that changes something."""
        record = super().get_help_record(ctx)
        if record is None or self.on_by_default is None:
            return record
        shown = self.secondary_opts[0] if self.on_by_default else self.opts[0]
        return shown, f"{'do not ' if self.on_by_default else ''}{self.help}"


class JobCommand(click.Command):
    """A command whose help stands in groups, and which knows the dotted settings that have no flag."""

    def __init__(self, name: str, model: type[Frozen], **options: Any) -> None:
        super().__init__(name, **options)
        self.model = model

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take the command line apart; of an unknown flag say which dotted setting it may mean."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as exc:
            meant = exc.option_name.lstrip("-").replace("-", "_")
            found = [
                key for key, _, _ in dotted(self.model) if meant in (key, key.replace(".", "_"), key.rpartition(".")[2])
            ]
            if not found:
                raise
            hint = " or ".join(f"--set {key}=VALUE" for key in found)
            raise click.UsageError(f"No such option '{exc.option_name}': write {hint}", ctx) from exc

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the flags under their headings, then the dotted settings, then what every command has."""
        from raycolor.config import Group

        whole = bool(ctx.meta.get("raycolor.help_all"))
        flags = [param for param in self.params if isinstance(param, click.Option)]
        sections = {group: [flag for flag in flags if getattr(flag, "group", None) == group] for group in Group}
        hidden = sections[Group.ADVANCED]
        for group, members in sections.items():
            if members and (whole or group is not Group.ADVANCED):
                _section(formatter, ctx, group, members)
        rows = [
            (key, f"{_text(info)}{_choices(info)}")
            for key, info, group in dotted(self.model)
            if whole or group is not Group.ADVANCED
        ]
        if rows:
            with formatter.section("By --set KEY=VALUE, or in --config"):
                formatter.write_dl(rows)
        _section(formatter, ctx, _GENERAL, [flag for flag in flags if getattr(flag, "group", None) is None])
        if hidden and not whole:
            formatter.write_paragraph()
            formatter.write_text(f"{len(hidden)} more flags: raycolor {self.name} --help-all")


def _section(formatter: click.HelpFormatter, ctx: click.Context, title: str, flags: Sequence[click.Option]) -> None:
    with formatter.section(title):
        formatter.write_dl([record for flag in flags if (record := flag.get_help_record(ctx)) is not None])


def show_all(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    """Show the help with the flags that `--help` leaves out."""
    if value:
        ctx.meta["raycolor.help_all"] = True
        click.echo(ctx.get_help())
        ctx.exit()


def params_of(model: type[Frozen], arguments: Sequence[str]) -> list[click.Parameter]:
    """Return a model's settings as the arguments and flags of a command."""
    params: list[click.Parameter] = [_argument(field, model.model_fields[field]) for field in arguments]
    for field, info in model.model_fields.items():
        if field not in arguments and not is_group(info):
            flag = _flag(field, info)
            flag.group = model.group_of(field)
            params.append(flag)
    return params


def dotted(model: type[Frozen]) -> Iterator[tuple[str, FieldInfo, Group]]:
    """Yield the settings inside of other settings: dotted key, field, group."""
    for field, info in model.model_fields.items():
        inner = inner_model(info)
        if inner is not None:
            for name, one in inner.model_fields.items():
                yield f"{field}.{name}", one, inner.group_of(name)
        elif is_group(info):
            yield f"{field}.KEY", info, model.group_of(field)


def inner_model(info: FieldInfo) -> type[Frozen] | None:
    """Return the model of a setting that is a group of settings with names of their own."""
    from raycolor.config import Frozen

    kind = info.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Frozen) else None


def is_group(info: FieldInfo) -> bool:
    """Whether a setting holds others and so is no flag."""
    return get_origin(info.annotation) is dict or inner_model(info) is not None


def _argument(field: str, info: FieldInfo) -> click.Argument:
    """Turn one setting into a positional argument: of any number of values where the setting takes several."""
    if get_origin(info.annotation) is tuple:
        return click.Argument([field], metavar=f"{field.upper()}...", required=False, nargs=-1)
    return click.Argument([field], metavar=field.upper(), required=False)


def _flag(field: str, info: FieldInfo) -> Flag:
    """Turn one setting into a flag. Bounds are checked by the model, so that files and flags fail alike."""
    flag = "--" + (info.alias or field).replace("_", "-")
    kinds = _kinds(info)
    text = _text(info)
    if bool in kinds:
        switch = Flag([f"{flag}/--no-{flag[2:]}"], default=None, help=info.description or "")
        switch.on_by_default = info.default
        return switch
    if get_origin(info.annotation) is tuple:
        names = {"data": "DATASET", "retry_reason": "REASON", "log_to": "NAME"}
        metavar = {**names, "checkpoint": "NAME", "saturation": "NUMBER"}.get(field, "GLOB")
        return Flag([flag], multiple=True, metavar=metavar, help=text)
    if all(isinstance(kind, str) for kind in kinds):
        return Flag([flag], metavar="|".join(kinds), help=text)
    if info.metadata and any("BeforeValidator" in type(note).__name__ for note in info.metadata):
        return Flag([flag], metavar="NUMBER", help=text)
    number = {int: "INTEGER", float: "NUMBER"}.get(kinds[0], "TEXT")
    return Flag([flag], metavar=number, help=text, required=False)


def _kinds(info: FieldInfo) -> list[Any]:
    """Return what a setting may be, but for None."""
    return [kind for kind in (get_args(info.annotation) or (info.annotation,)) if kind is not type(None)]


def _choices(info: FieldInfo) -> str:
    """Return the words that a setting may be, if it is one of a few."""
    kinds = [word for kind in _kinds(info) for word in (get_args(kind) or (kind,))]
    return f" ({', '.join(kinds)})" if all(isinstance(word, str) for word in kinds) else ""


def _text(info: FieldInfo) -> str:
    """Return what a setting means, with its default."""
    default = info.default
    if default is None or default is False or default == () or info.is_required() or info.default_factory:
        return info.description or ""
    shown = ", ".join(map(str, default)) if isinstance(default, tuple) else default
    return f"{info.description}  [default: {shown}]"
