"""How do our dataclasses become JSON or come from a file, and how is a bad file reported?

The only place that knows pydantic, and the one door for text from a file: what is malformed, nested
without end, too large or not finite is refused here. A file that does not fit its dataclass is an
``InputError`` that names the file, the key and the reason.
"""

import re
import tomllib
from math import isfinite
from pathlib import Path
from textwrap import shorten
from typing import Annotated, Any, TypeVar

import pydantic_core
from pydantic import (
    BeforeValidator,
    Discriminator,
    StringConstraints,
    Tag,
    TypeAdapter,
    ValidationError,
)

from reefl_edge.errors import InputError
from reefl_edge.files import regular_file

T = TypeVar("T")

# Of a manifest with a million class names, written one a line, and then some.
MAX_JSON_BYTES = 64 * 2**20
# Recipes and device profiles are written by hand. What tomllib takes long for grows with the
# square of the length.
MAX_TOML_BYTES = 256 * 2**10
_MAX_DOTS = 100  # in a line; a key of ten thousand parts takes tomllib seconds

# What may be beyond float64, and become an infinity: looked at only where there is such a number.
_LARGE_NUMBER = re.compile(r"[eE]\+?0*[1-9]\d\d|\d{300}")

# The hash of a file, or of what stands for it.
Sha256 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]


def _named_number(value: Any) -> Any:
    return float(value) if value in ("NaN", "Infinity", "-Infinity") else value


# A number that may be none, or without end: JSON has text for those, and for no others.
AnyFloat = Annotated[float, BeforeValidator(_named_number)]

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


def variant(kind: str) -> Tag:
    """Mark a dataclass in a tagged union with the ``kind`` that it is read for."""
    return Tag(kind)


def tagged_union(refusal: str) -> Discriminator:
    """Mark a union whose dataclasses are told apart by their key ``kind``, and by nothing else.

    Args:
        refusal: What to say of a document that has no ``kind``, or another.
    """
    return Discriminator(_kind_of, custom_error_type="kind", custom_error_message=refusal)


def _kind_of(value: Any) -> Any:
    return value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None)


def parse_json(text: str | bytes, *, source: str) -> Any:
    """Read JSON text, whoever wrote it, into Python's own types.

    Stricter than the standard library, and never deeper than 200 levels: no NaN or infinity, also
    not as a number beyond float64, no integer of thousands of digits, no half of a surrogate pair.

    Args:
        text: The text; bytes are UTF-8, with or without a byte order mark.
        source: Where it comes from, for the message.

    Raises:
        InputError: The text is no JSON.
    """
    content = _utf8(text, source)
    try:
        document = pydantic_core.from_json(content, allow_inf_nan=False)
    except ValueError as error:
        raise InputError(f"{source}: not a JSON file: {error}") from error
    if _LARGE_NUMBER.search(content):
        _check_finite(document, source)
    return document


def from_json(kind: type[T], text: str | bytes, *, source: str) -> T:
    """Read a dataclass from JSON text, each value as what it is: "0.8" and true are no numbers.

    Raises:
        InputError: The text is no JSON, or does not fit ``kind``.
    """
    parse_json(text, source=source)
    try:
        value: T = _adapter(kind).validate_json(_utf8(text, source), strict=True)
    except ValidationError as error:
        raise InputError(f"{source}: {_first_problem(error)}") from error
    return value


def from_versioned_json(kind: Any, text: str | bytes, *, source: str, newest: int) -> Any:
    """Read a dataclass, or a union of them, from JSON text that must state its schema version.

    Args:
        kind: What to read.
        text: The text.
        source: Where it comes from, for the message.
        newest: The newest version that can be read.

    Raises:
        InputError: The text is no JSON, does not fit ``kind``, or is of no version or a newer one.
    """
    document = parse_json(text, source=source)
    version = _version_in(document, source)
    check_not_newer(version, source=source, newest=newest)
    value = from_json(kind, text, source=source)
    if version is None:
        raise InputError(f"{source} states no schema_version")
    return value


def from_toml(kind: type[T], text: str | bytes, *, source: str) -> T:
    """Read a dataclass from TOML text.

    Raises:
        InputError: The text is no TOML, or does not fit ``kind``.
    """
    document = _parse_toml(_utf8(text, source), source)
    _check_finite(document, source)
    try:
        value: T = _adapter(kind).validate_python(document)
    except ValidationError as error:
        raise InputError(f"{source}: {_first_problem(error)}") from error
    return value


def _parse_toml(content: str, source: str) -> dict[str, Any]:
    for number, line in enumerate(content.splitlines(), start=1):
        if line.count(".") > _MAX_DOTS:
            raise InputError(
                f"{source}: line {number} has {line.count('.')} dots, and no key of ours more "
                f"than a few; at most {_MAX_DOTS} are read"
            )
    try:
        return tomllib.loads(content)
    except RecursionError as error:
        raise InputError(f"{source}: not a TOML file: nested too deep") from error
    except ValueError as error:  # also of an integer of thousands of digits
        raise InputError(f"{source}: not a TOML file: {error}") from error


def read_json(kind: type[T], path: Path) -> T:
    """Read a dataclass from a JSON file.

    Raises:
        InputError: The file cannot be read, is too large, or does not fit ``kind``.
    """
    return from_json(kind, _content(path, MAX_JSON_BYTES), source=str(path))


def read_toml(kind: type[T], path: Path) -> T:
    """Read a dataclass from a TOML file.

    Raises:
        InputError: The file cannot be read, is too large, or does not fit ``kind``.
    """
    return from_toml(kind, _content(path, MAX_TOML_BYTES), source=str(path))


def schema_version_of(path: Path) -> int | None:
    """Return the ``schema_version`` that a JSON file states, or None if it states none.

    Raises:
        InputError: The file cannot be read, is no JSON, or its version is no whole number.
    """
    return _version_in(parse_json(_content(path, MAX_JSON_BYTES), source=str(path)), str(path))


def check_not_newer(version: int | None, *, source: str, newest: int) -> None:
    """Refuse a document of a version that only a newer reefl-edge reads.

    Args:
        version: What the document states; None, nothing.
        source: Where it comes from, for the message.
        newest: The newest version that can be read.

    Raises:
        InputError: It is newer.
    """
    if version is not None and version > newest:
        raise InputError(
            f"{source} has schema version {version}, newer than {newest}, the newest this "
            "reefl-edge reads; upgrade reefl-edge"
        )


def _version_in(document: Any, source: str) -> int | None:
    version = document.get("schema_version") if isinstance(document, dict) else None
    if version is not None and type(version) is not int:
        raise InputError(f"{source}: schema_version is {version!r:.40}, not a whole number")
    return version


def _content(path: Path, max_bytes: int) -> bytes:
    size_bytes = regular_file(path).stat().st_size
    if size_bytes > max_bytes:
        raise InputError(
            f"{path} has {size_bytes} bytes, but a file of its kind at most {max_bytes}"
        )
    return path.read_bytes()


def _utf8(text: str | bytes, source: str) -> str:
    """Return text without its byte order mark."""
    try:
        decoded = text.decode() if isinstance(text, bytes) else text
    except UnicodeDecodeError as error:
        raise InputError(f"{source} is not a text in UTF-8: {error}") from error
    return decoded.removeprefix("\ufeff")


def _check_finite(value: object, source: str, key: str = "") -> None:
    match value:
        case float() if not isfinite(value):
            raise InputError(f"{source}: {key or 'a number'} is {value}, not a finite number")
        case dict():
            for name, each in value.items():
                _check_finite(each, source, f"{key}.{name}".lstrip("."))
        case list():
            for each in value:
                _check_finite(each, source, key)


def json_schema(kind: Any) -> dict[str, Any]:
    """Return the JSON Schema of a dataclass or a union, for readers in other languages."""
    document = _adapter(kind).json_schema()
    for each in (document, *document.get("$defs", {}).values()):
        _require_constants(each)
    return document


def _require_constants(definition: dict[str, Any]) -> None:
    """Require what can only be one thing, such as a ``kind``: it is there to be looked at."""
    constants = [
        name
        for name, field in definition.get("properties", {}).items()
        if "const" in field and field.pop("default", None) is not None
    ]
    if constants:
        definition["required"] = [*constants, *definition.get("required", [])]


# What pydantic calls a key that a dataclass does not have, with its own check and with a forbidding
# configuration.
_UNKNOWN_KEY = ("unexpected_keyword_argument", "extra_forbidden")


def _first_problem(error: ValidationError) -> str:
    problems = error.errors(include_url=False)
    # An unknown key explains why another is missing: it is misspelt, or of another unit.
    problem = next((each for each in problems if each["type"] in _UNKNOWN_KEY), problems[0])
    key = ".".join(str(part) for part in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")  # of an invariant of ours
    others = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{key + ': ' if key else ''}{shorten(message, 400)}{others}"
