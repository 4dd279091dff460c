"""Settings from their four places into one model: defaults, a YAML file, flags, and `a.b=value`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from raycolor.config.models import Frozen
from raycolor.errors import ConfigError

_Model = TypeVar("_Model", bound=Frozen)


def load_config(
    model: type[_Model], *, file: str | None = None, sets: Sequence[str] = (), flags: Mapping[str, Any] | None = None
) -> _Model:
    """Merge defaults, a YAML file, `a.b=value` settings and flags, in that order, and validate.

    Raises:
        ConfigError: an unreadable file, an unknown key or a value out of bounds; one line that names key and value.
    """
    merged: dict[str, Any] = {}
    where: dict[str, str] = {}
    if file is not None:
        for key, value in _read_yaml(file).items():
            merged[key] = value
            where[key] = file
    for key, value in (flags or {}).items():
        merged[key] = value
        where[key] = "--" + key.replace("_", "-")
    for setting in sets:
        _set_dotted(merged, setting)
        where[setting.split("=", 1)[0].split(".", 1)[0]] = "--set"
    return validate(model, merged, where)


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


def _read_yaml(file: str) -> dict[str, Any]:
    try:
        loaded = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"{file}: cannot be read ({exc.strerror}): check the path") from exc
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        problem = " ".join(str(exc).split())
        raise ConfigError(f"{file}: is not YAML: {problem}") from exc
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
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as exc:
        raise ConfigError(f"--set {setting}: the value is not YAML; put it in quotes") from exc
    *parents, last = key.split(".")
    for parent in parents:
        inner = target.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {setting}: {parent} is one value, not a group of settings")
        target = inner
    target[last] = value


def _explain(exc: ValidationError, model: type[Frozen], where: Mapping[str, str]) -> str:
    """Turn pydantic's report into one line: source, key, value, what is allowed."""
    first = exc.errors()[0]
    path = [str(part) for part in first["loc"]]
    key = ".".join(path)
    source = where.get(key, where.get(path[0] if path else "", "settings"))
    if first["type"] == "extra_forbidden":
        known = ", ".join(sorted(_fields_at(model, path[:-1])))
        return f"{source}: unknown key {key}: known are {known}"
    if first["type"] == "missing":
        return f"{key} is missing: give it as an argument or in --config"
    value = json.dumps(first["input"], default=str)
    more = f" (and {exc.error_count() - 1} more)" if exc.error_count() > 1 else ""
    message = first["msg"].removeprefix("Value error, ")
    return f"{source}: {key} = {value}: {message[:1].lower()}{message[1:]}{more}"


def _fields_at(model: type[BaseModel], path: Sequence[str]) -> list[str]:
    for part in path:
        inner = model.model_fields[part].annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            break
        model = inner
    return list(model.model_fields)
