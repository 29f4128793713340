"""How do our dataclasses become JSON or come from a file, and how is a bad file reported?

The only place that knows pydantic. A file that does not fit its dataclass is an ``InputError`` that
names the file, the key and the reason.
"""

import json
import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from reefl_edge.errors import InputError

T = TypeVar("T")


_adapters: dict[Any, TypeAdapter[Any]] = {}


def _adapter(kind: Any) -> TypeAdapter[Any]:
    """Return the adapter of a type, built when first asked for: that takes milliseconds."""
    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]


def to_json(value: object, *, indent: int | None = None) -> str:
    """Write a dataclass as JSON text."""
    return _adapter(type(value)).dump_json(value, indent=indent).decode()


def to_dict(value: object) -> dict[str, Any]:
    """Write a dataclass as a dictionary of JSON values."""
    fields: dict[str, Any] = _adapter(type(value)).dump_python(value, mode="json")
    return fields


def from_json(kind: type[T], text: str | bytes, *, source: str) -> T:
    """Read a dataclass from JSON text.

    Raises:
        InputError: The text is no JSON, or does not fit ``kind``.
    """
    try:
        value: T = _adapter(kind).validate_json(text)
    except ValidationError as error:
        raise InputError(f"{source}: {_first_problem(error)}") from error
    return value


def from_toml(kind: type[T], text: str, *, source: str) -> T:
    """Read a dataclass from TOML text.

    Raises:
        InputError: The text is no TOML, or does not fit ``kind``.
    """
    try:
        value: T = _adapter(kind).validate_python(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{source}: not a TOML file: {error}") from error
    except ValidationError as error:
        raise InputError(f"{source}: {_first_problem(error)}") from error
    return value


def read_json(kind: type[T], path: Path) -> T:
    """Read a dataclass from a JSON file."""
    return from_json(kind, path.read_bytes(), source=str(path))


def schema_version_of(path: Path) -> int | None:
    """Return the ``schema_version`` that a JSON file states, or None if it states none."""
    try:
        document = json.loads(path.read_bytes())
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: not a JSON file: {error}") from error
    version = document.get("schema_version") if isinstance(document, dict) else None
    return version if isinstance(version, int) else None


def json_schema(kind: type[Any]) -> dict[str, Any]:
    """Return the JSON Schema of a dataclass, for readers in other languages."""
    return _adapter(kind).json_schema()


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False)[0]
    key = ".".join(str(part) for part in problem["loc"])
    others = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{key + ': ' if key else ''}{problem['msg']}{others}"
