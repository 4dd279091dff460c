"""Settings: the base of all configurations, and how defaults, a YAML file, flags and `a.b=value` become one of them."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, TypeVar, get_origin

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, field_validator
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo

from raycolor.errors import ConfigError

_UNITS = {"k": 1e3, "kb": 1e3, "m": 1e6, "mb": 1e6, "mp": 1e6, "g": 1e9, "gb": 1e9}
LARGEST = 10**15  # far over any count there is, and held exactly by every library
_Model = TypeVar("_Model", bound="Frozen")
_MAX_BYTES = 256_000  # of a settings file; the longest have some kilobytes
_MAX_DEPTH = 50
_MAX_DIGITS = 18  # of an integer: machines hold them in 64 bits
_SHOWN = 200  # characters of a value in a message


class Group(StrEnum):
    """Headings that the flags of a command stand under, in the order of its help."""

    SELECTION = "Selection"
    LOOK = "Look"
    FILES = "Files"
    TRAINING = "Training"
    SEARCH = "Search"
    MEASUREMENT = "Measurement"
    CLUSTER = "Cluster"
    SETTINGS = "Settings"
    ADVANCED = "Advanced"  # few need them: `--help-all` alone shows them


# `json_schema_extra` of a setting that stands under another heading than its model's `help_group`.
SELECTION: Final[JsonDict] = {"group": Group.SELECTION}
FILES: Final[JsonDict] = {"group": Group.FILES}
LOOK: Final[JsonDict] = {"group": Group.LOOK}
CLUSTER: Final[JsonDict] = {"group": Group.CLUSTER}
ADVANCED: Final[JsonDict] = {"group": Group.ADVANCED}


if TYPE_CHECKING:
    _Base = BaseModel
else:

    class _OneLineErrors(type(BaseModel)):
        """Makes one line of what is wrong where Python code makes a model; inside models pydantic goes past it."""

        def __call__(cls, **values: Any) -> Any:
            try:
                return super().__call__(**values)
            except ValidationError as exc:
                raise ConfigError(_explain(exc, cls, {}, cls.__name__)) from exc

    class _Base(BaseModel, metaclass=_OneLineErrors):
        pass


class Frozen(_Base):
    """A model that refuses unknown keys by name and never changes."""

    help_group: ClassVar[Group] = Group.SETTINGS
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def group_of(cls, field: str) -> Group:
        """Return the heading of a setting's flag: its own, or that of the model that declares it."""
        extra = cls.model_fields[field].json_schema_extra
        if isinstance(extra, dict) and "group" in extra:
            return Group(str(extra["group"]))
        owner = next(base for base in cls.__mro__ if field in inspect.get_annotations(base))
        return owner.help_group if issubclass(owner, Frozen) else cls.help_group

    @field_validator("*")
    @classmethod
    def _fits_a_machine(cls, value: Any) -> Any:
        """Refuse numbers that libraries cannot hold, before one of them says so in its own words."""
        if isinstance(value, int) and abs(value) > LARGEST:
            raise ValueError(f"must be at most {LARGEST:,}")
        return value


def _number(value: object) -> object:
    """Accept `250MP`, `2GB` or `2.5e8` beside plain numbers."""
    if isinstance(value, str):
        text = value.strip().lower()
        unit = next((unit for unit in sorted(_UNITS, key=len, reverse=True) if text.endswith(unit)), "")
        number = float(text.removesuffix(unit)) * _UNITS.get(unit, 1)
        if not math.isfinite(number):
            raise ValueError("must be a number such as 250MP")
        return int(number)
    return value


Count = Annotated[int, BeforeValidator(_number)]


def several(value: object) -> object:
    """Accept one value where several may stand, as in `data: folder`."""
    return (value,) if isinstance(value, str) else value


Several = Annotated[tuple[str, ...], BeforeValidator(several)]


class _RefusedError(Exception):
    """Settings that are YAML and are not read; the message says why."""


class _Loader(yaml.SafeLoader):
    """YAML that costs no more than its size: without aliases, which can name one value billions of times."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise _RefusedError(f"alias *{self.peek_event().anchor}: write the value out")  # type: ignore[no-untyped-call]
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise _RefusedError(f"more than {_MAX_DEPTH} settings inside one another")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def integer(self, node: Any) -> int:
        if len(node.value) > 4 * _MAX_DIGITS or abs(value := self.construct_yaml_int(node)) >= 10**_MAX_DIGITS:
            raise _RefusedError(f"{_short(node.value)}: must have at most {_MAX_DIGITS} digits")
        return int(value)

    def number(self, node: Any) -> float:
        value = float(self.construct_yaml_float(node)) if len(node.value) <= 400 else math.inf
        if not math.isfinite(value):
            raise _RefusedError(f"{_short(node.value)}: must be a finite number")
        return value


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.integer)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.number)


def _parse(text: str, where: str) -> Any:
    """Read YAML.

    Raises:
        ConfigError: it is none, or what no settings need; one line that begins with `where`.
    """
    try:
        return yaml.load(text, _Loader)
    except _RefusedError as exc:
        raise ConfigError(f"{where}: {exc}") from exc
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as exc:
        raise ConfigError(f"{where}: is not YAML: {_short(str(exc))}") from exc


def _short(text: str, most: int = _SHOWN) -> str:
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= most else line[: most - 1] + "…"


UNSET: Final = "?"
"""Stands for a place that has not been named yet, in settings that are only shown."""


def load_config(
    model: type[_Model],
    *,
    file: str | None = None,
    sets: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
    may_miss: bool = False,
) -> _Model:
    """Merge defaults, a YAML file, `a.b=value` settings and flags, in that order, and validate.

    Args:
        model: the configuration.
        file: of settings.
        sets: `a.b=value`.
        flags: setting -> value.
        may_miss: set places that are missing to `UNSET`.

    Raises:
        ConfigError: an unreadable file, an unknown key or a value out of bounds; one line that names key and value.
    """
    merged = {} if file is None else load_yaml(file)
    where = dict.fromkeys(merged, str(file))
    for key, value in (flags or {}).items():
        merged[key] = value
        where[key] = "--" + key.replace("_", "-")
    for setting in sets:
        _set_dotted(merged, setting)
        where[setting.split("=", 1)[0].split(".", 1)[0]] = "--set"
    if may_miss:
        merged = {name: UNSET for name, info in model.model_fields.items() if _is_place(info)} | merged
    return validate(model, merged, where)


def _is_place(info: FieldInfo) -> bool:
    return info.is_required() and (info.annotation is str or get_origin(info.annotation) is tuple)


def flattened(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings by their dotted keys."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        found |= flattened(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return found


def as_yaml(config: Frozen) -> str:
    """Return settings as a file that `load_config` reads as the same; places that are `UNSET` become comments."""
    lines = []
    for key, value in config.model_dump(mode="json", by_alias=True).items():
        if value in (UNSET, [UNSET]):
            lines.append(f"# {key}: {type(config).model_fields[key].description}\n")
        else:
            lines.append(yaml.dump({key: value}, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100))
    return "".join(lines)


class _Dumper(yaml.SafeDumper):
    """Writes what `_Loader` reads: no aliases."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def validate(model: type[_Model], values: Mapping[str, Any], where: Mapping[str, str]) -> _Model:
    """Validate settings.

    Args:
        model: the configuration.
        values: nested settings.
        where: dotted or first key -> what messages call the place it was set in.

    Raises:
        ConfigError: an unknown key or a value out of bounds; one line that names key and value.
    """
    try:
        return model.model_validate(values)
    except ValidationError as exc:
        raise ConfigError(_explain(exc, model, where)) from exc


def load_yaml(file: str) -> dict[str, Any]:
    """Read a YAML file of `key: value` lines.

    Raises:
        ConfigError: it cannot be read, or holds something else.
    """
    try:
        with Path(file).open("rb") as opened:
            data = opened.read(_MAX_BYTES + 1)
        text = data.decode("utf-8")
    except OSError as exc:
        raise ConfigError(f"{file}: cannot be read ({exc.strerror}): check the path") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{file}: is not YAML: {exc}") from exc
    if len(data) > _MAX_BYTES:
        raise ConfigError(f"{file}: over {_MAX_BYTES:,} bytes: is it a settings file?")
    loaded = _parse(text, file)
    if loaded is None:
        return {}
    if not isinstance(loaded, dict) or not all(isinstance(key, str) for key in loaded):
        raise ConfigError(f"{file}: must hold `key: value` lines, not {type(loaded).__name__}")
    return loaded


def _set_dotted(target: dict[str, Any], setting: str) -> None:
    """Put one `a.b=value` into a nested dict; the value is read as YAML (numbers, true, null, lists)."""
    key, equals, text = setting.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {setting}: must read KEY=VALUE, for example --set optim.lr=1.0e-4")
    value = _parse(text, f"--set {_short(setting)}")
    *parents, last = key.split(".")
    for parent in parents:
        inner = target.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {setting}: {parent} is one value, not a group of settings")
        target = inner
    target[last] = value


def _explain(exc: ValidationError, model: type[BaseModel], where: Mapping[str, str], otherwise: str = "") -> str:
    """Turn pydantic's report into one line: source, key, value, what is allowed.

    Args:
        exc: the report.
        model: the configuration.
        where: dotted or first key -> what to call the place it was set in.
        otherwise: what to call it elsewhere: the model, where Python code made it.
    """
    first = exc.errors()[0]
    path = [str(part) for part in first["loc"]]
    key = _short(".".join(path))
    source = where.get(key, where.get(path[0] if path else "", otherwise or "settings"))
    if first["type"] == "extra_forbidden":
        known = ", ".join(sorted(_fields_at(model, path[:-1])))
        return f"{source}: unknown key {key}: known are {known}"
    if first["type"] == "missing":
        return (
            f"{otherwise}: {key} is missing"
            if otherwise
            else f"{key} is missing: give it as an argument or in --config"
        )
    value = _short(json.dumps(first["input"], default=str))
    more = f" (and {exc.error_count() - 1} more)" if exc.error_count() > 1 else ""
    message = _short(first["msg"].removeprefix("Value error, "), 3 * _SHOWN)  # all words of a list of choices
    return f"{source}: {key} = {value}: {message[:1].lower()}{message[1:]}{more}"


def _fields_at(model: type[BaseModel], path: Sequence[str]) -> list[str]:
    for part in path:
        inner = model.model_fields[part].annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            break
        model = inner
    return list(model.model_fields)
