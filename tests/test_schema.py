"""Is a bad file reported with its name, the key and the reason?"""

from dataclasses import dataclass
from pathlib import Path

import pytest

from reefl_edge import schema
from reefl_edge.errors import InputError


@dataclass(frozen=True)
class Point:
    """Two numbers, the first of which has a bound."""

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
        ("{", r"p\.json: Invalid JSON"),
        ("[]", r"p\.json: .*object"),
        ("{}", r"p\.json: x: Field required"),
        ('{"x": "a", "y": 3}', r"p\.json: x: .*integer.*\(and 1 more\)"),
        ('{"x": -1}', r"p\.json: .*x must not be negative, got -1"),
    ],
)
def test_bad_json_is_an_input_error(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        schema.read_json(Point, path)


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


def test_json_schema_names_the_required_keys() -> None:
    assert schema.json_schema(Point)["required"] == ["x"]
