"""The bare environment of the tests: no torch, and the newest Typer."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BARE_PYTHON = ROOT / ".venv-bare" / "bin" / "python"

needs_bare = pytest.mark.skipif(
    not BARE_PYTHON.exists(), reason="there is no .venv-bare: make it with 'make setup'"
)
# So that it runs the sources: they are not installed there.
SOURCES = {"PYTHONPATH": f"{ROOT}:{ROOT / 'export'}"}
