"""Is a bad file reported with its name, the key and the reason?"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from reefl_edge import schema
from reefl_edge.errors import InputError


@dataclass(frozen=True)
class Point:
    """Two numbers, the first of which has a bound."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    x: int
    y: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.x < 0:
            raise ValueError(f"x must not be negative, got {self.x}")


def test_json_brings_back_what_was_written() -> None:
    point = Point(x=1, y=(0.5, 2.0))
    assert schema.from_json(Point, schema.to_json(point, indent=2), source="p") == point
    assert schema.to_dict(point) == {"x": 1, "y": [0.5, 2.0]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"p\.json: not a JSON file"),
        ("[]", r"p\.json: .*object"),
        ("{}", r"p\.json: x: Field required"),
        ('{"x": "a", "y": 3}', r"p\.json: x: .*integer.*\(and 1 more\)"),
        ('{"x_ms": 1}', r"p\.json: x_ms: Unexpected keyword argument \(and 1 more\)"),
        ('{"x": -1}', r"p\.json: .*x must not be negative, got -1"),
    ],
)
def test_bad_json_is_an_input_error(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        schema.read_json(Point, path)


@pytest.mark.parametrize(
    "text",
    ['{"x": "1"}', '{"x": true}', '{"x": 1.0}', '{"x": 1, "y": ["0.8"]}', '{"x": 1, "y": [true]}'],
)
def test_what_is_no_number_in_json_is_not_taken_for_one(text: str) -> None:
    with pytest.raises(InputError, match=r"p: (x|y\.0): Input should be a valid (integer|number)"):
        schema.from_json(Point, text, source="p")


def test_a_whole_number_in_json_is_a_number() -> None:
    assert schema.from_json(Point, '{"x": 1, "y": [2]}', source="p").y == (2.0,)


@pytest.mark.parametrize(
    ("text", "message"),
    [("x =", r"p\.toml: not a TOML file"), ("x = 1\ny = [true, 'a']", r"p\.toml: y\.1: ")],
)
def test_bad_toml_is_an_input_error(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        schema.from_toml(Point, text, source="p.toml")


def test_toml_is_read() -> None:
    assert schema.from_toml(Point, "x = 3\ny = [1.5]", source="p.toml") == Point(x=3, y=(1.5,))


@pytest.mark.parametrize(
    ("text", "version"), [('{"schema_version": 2}', 2), ("{}", None), ("[]", None)]
)
def test_schema_version_is_read_before_all_else(
    text: str, version: int | None, tmp_path: Path
) -> None:
    (tmp_path / "m.json").write_text(text)
    assert schema.schema_version_of(tmp_path / "m.json") == version


@pytest.mark.parametrize("version", ['"2"', "2.0", "true", "[2]", "{}"])
def test_schema_version_of_another_type_is_refused(version: str, tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text(f'{{"schema_version": {version}}}')
    with pytest.raises(InputError, match=r"m\.json: schema_version is .*, not a whole number"):
        schema.schema_version_of(tmp_path / "m.json")


MALFORMED_JSON = {
    "nested a thousand deep": b'{"x": ' + b"[" * 1000 + b"]" * 1000 + b"}",
    "nested without end": b'{"x": ' * 100_000,
    "an integer of 5,000 digits": b'{"x": ' + b"9" * 5000 + b"}",
    "not UTF-8": b'{"x": 1, "name": "\xff"}',
    "UTF-16": '{"x": 1}'.encode("utf-16"),
    "half of a surrogate pair": b'{"x": 1, "name": "\\ud800"}',
    "NaN": b'{"x": 1, "y": [NaN]}',
    "infinity": b'{"x": 1, "y": [-Infinity]}',
    "a number beyond float64": b'{"x": 1, "y": [1e999]}',
    "a long number beyond float64": b'{"x": 1, "y": [' + b"9" * 400 + b".0]}",
    "a null byte": b'{"x": 1}\0',
    "empty": b"",
}


@pytest.mark.parametrize("content", MALFORMED_JSON.values(), ids=MALFORMED_JSON.keys())
def test_malformed_json_is_one_line_that_names_the_file(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_bytes(content)

    for read in (
        lambda: schema.read_json(Point, path),
        lambda: schema.parse_json(content, source="p.json"),
        lambda: schema.schema_version_of(path),
    ):
        with pytest.raises(InputError, match=r"p\.json") as caught:
            read()
        assert "\n" not in str(caught.value)


MALFORMED_TOML = {
    "nested a thousand deep": b"x = " + b"[" * 1000 + b"]" * 1000,
    "tables nested without end": b"x = " + b"{a = " * 20_000,
    "an integer of 5,000 digits": b"x = " + b"9" * 5000,
    "a key of ten thousand parts": b".".join([b"a"] * 10_000) + b" = 1",
    "a table of ten thousand parts": b"[" + b".".join([b"a"] * 10_000) + b"]",
    "not UTF-8": b"x = 1\nname = '\xff'",
    "NaN": b"x = 1\ny = [nan]",
    "infinity": b"x = 1\ny = [1.0, -inf]",
    "a null byte": b"x = 1\0",
}


@pytest.mark.parametrize("content", MALFORMED_TOML.values(), ids=MALFORMED_TOML.keys())
def test_malformed_toml_is_one_line_that_names_the_file(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_bytes(content)

    with pytest.raises(InputError, match=r"p\.toml") as caught:
        schema.read_toml(Point, path)

    assert "\n" not in str(caught.value)


def test_a_number_that_is_not_finite_is_named_by_its_key() -> None:
    with pytest.raises(InputError, match=r"p: a\.b is inf, not a finite number"):
        schema.parse_json('{"a": {"b": [1.0, 1e999]}}', source="p")


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    for name, text, read in (
        ("p.json", '{"x": 1}', schema.read_json),
        ("p.toml", "x = 1", schema.read_toml),
    ):
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
        assert read(Point, tmp_path / name) == Point(x=1)


@pytest.mark.parametrize("read", [schema.read_json, schema.read_toml])
def test_a_file_that_is_far_too_large_is_refused_unread(
    read: Callable[[type[Point], Path], Point], tmp_path: Path
) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(10**12)  # a hole: nothing is on the disk
    with pytest.raises(InputError, match=r"large has 1000000000000 bytes, but .* at most"):
        read(Point, path)


@pytest.mark.parametrize("read", [schema.read_json, schema.read_toml])
def test_what_is_no_file_is_refused_by_name(
    read: Callable[[type[Point], Path], Point], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"nowhere: no such file"):
        read(Point, tmp_path / "nowhere")
    with pytest.raises(InputError, match="is a folder, not a file"):
        read(Point, tmp_path)


def test_json_of_somebody_else_becomes_plain_values() -> None:
    text = '{"a": [1, 2.5, null], "1e5": "9", "b": 1e20}'
    assert schema.parse_json(text, source="p") == {"a": [1, 2.5, None], "1e5": "9", "b": 1e20}


def test_json_schema_names_the_required_keys() -> None:
    assert schema.json_schema(Point)["required"] == ["x"]
