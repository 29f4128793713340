"""Do the pages name files that are there? A name alone may be in any folder."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# History: what was decided stays as it was written, and so do its names.
PAGES = [
    path
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    if path.name != "decisions.md"
]
FOLDERS = ("reefl_edge", "export", "benchmarks", "tests", "schemas", "docs", "device_profiles")
_NAMED = re.compile(rf"`([\w./-]+\.(?:py|md|schema\.json)|(?:{'|'.join(FOLDERS)})/[\w./-]*)`")


def test_the_page_has_the_layers_that_imports_are_held_to() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = settings["tool"]["importlinter"]["contracts"]
    held = [
        {name.removeprefix("reefl_edge.") for name in layer.split(" : ")}
        for layer in reversed(contract["layers"])
    ]
    page = (ROOT / "docs" / "how-it-works.md").read_text(encoding="utf-8")
    told = page.split("regimes · ", 1)[1].split("\n\n")[0].replace("`", "").split("·")

    shown = [{name.strip() for name in layer.split(",")} for layer in ["regimes", *told]]

    assert [*shown, {"__main__"}] == held


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    known = [
        path.relative_to(ROOT).as_posix()
        for folder in FOLDERS
        for path in (ROOT / folder, *(ROOT / folder).rglob("*"))
        if "__pycache__" not in path.parts
    ]

    named = _NAMED.findall(page.read_text(encoding="utf-8"))

    missing = [
        name
        for name in named
        if not any(f"/{path}".endswith(f"/{name.rstrip('/')}") for path in known)
    ]
    assert missing == []
