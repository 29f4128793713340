"""How is a commented TOML file written? Its readers know only the values."""

import json
from collections.abc import Mapping
from textwrap import wrap

Value = str | int | float | bool

_WIDTH = 96


def toml_table(values: Mapping[str, Value], comments: Mapping[str, str]) -> str:
    r"""Write the lines of a table, what is known of a key above it.

    >>> print(toml_table({"seed": 0, "data": "a.npz"}, {"seed": "Of everything random."}), end="")
    # Of everything random.
    seed = 0
    data = "a.npz"
    """
    lines: list[str] = []
    for key, value in values.items():
        lines += [f"# {line}" for line in wrap(comments.get(key, ""), _WIDTH)]
        lines.append(f"{key} = {_literal(value)}")
    return "\n".join(lines) + "\n"


def _literal(value: Value) -> str:
    # JSON writes texts, truth values and finite numbers as TOML reads them.
    return json.dumps(value, ensure_ascii=False)
