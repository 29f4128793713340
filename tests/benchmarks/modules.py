"""How do the tests run a benchmark: with its options, in this process, which has imported torch?"""

import os
import sys
from importlib import import_module
from pathlib import Path
from unittest.mock import patch

import pytest

ROOT = Path(__file__).parents[2]


def run_module(name: str, *arguments: str) -> None:
    """Run a module as ``python -m`` does, in the tree; leave the environment as it was."""
    with pytest.MonkeyPatch.context() as monkeypatch, patch.dict(os.environ):
        monkeypatch.chdir(ROOT)
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        import_module(name).main()
