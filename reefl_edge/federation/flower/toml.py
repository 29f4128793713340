"""How does a dataclass of settings become a TOML file that says what each of them means?

The words are those of its docstring, so that nothing is said twice.
"""

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import fields
from inspect import getdoc
from textwrap import wrap
from typing import Any

from reefl_edge import schema

Value = str | int | float | bool

_WIDTH = 96


def toml_table(values: Mapping[str, Value], comments: Mapping[str, str] | None = None) -> str:
    r"""Write the lines of a table, what is known of a key above it.

    >>> print(toml_table({"seed": 0, "data": "a.npz"}, {"seed": "Of everything random."}), end="")
    # Of everything random.
    seed = 0
    data = "a.npz"
    """
    lines: list[str] = []
    for key, value in values.items():
        lines += [f"# {line}" for line in wrap((comments or {}).get(key, ""), _WIDTH)]
        # JSON writes texts, truth values and finite numbers as TOML reads them.
        lines.append(f"{key} = {json.dumps(value, ensure_ascii=False)}")
    return "\n".join(lines) + "\n"


def settings_table(settings: Any, *, leaves_out: Collection[str] = ()) -> str:
    """Write a dataclass of settings as a table, keys in kebab-case, each with its meaning.

    Args:
        settings: The dataclass; its values are texts, numbers and truth values.
        leaves_out: Keys that are not for whoever reads the file.
    """
    values = {schema.kebab(field.name): getattr(settings, field.name) for field in fields(settings)}
    written = {key: value for key, value in values.items() if key not in leaves_out}
    return toml_table(written, attribute_docs(type(settings)))


def attribute_docs(kind: type[Any]) -> dict[str, str]:
    """Return what a dataclass's docstring says of its attributes, by their name in kebab-case."""
    _, _, section = (getdoc(kind) or "").partition("Attributes:\n")
    section, _, _ = section.partition("\n\n")
    found = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", section, re.MULTILINE)
    return {schema.kebab(name): _plain(text) for name, text in found}


def _plain(text: str) -> str:
    """Say it as a file does that a person reads: in one line, keys as they stand there."""
    one_line = " ".join(text.split())
    return re.sub("``(.+?)``", lambda found: schema.kebab(found[1]), one_line)
