"""What does ``import reefl_edge`` bring, and what does it cost?"""

import ast
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import reefl_edge
from reefl_edge import _HOMES


def test_importing_the_package_loads_nothing_heavy() -> None:
    script = (
        "import sys, reefl_edge\n"
        "heavy = {'torch', 'numpy', 'onnxruntime', 'typer', 'reefl_export'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )

    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert ran.returncode == 0, ran.stderr


def test_the_main_job_loads_torch_only_where_it_computes() -> None:
    light = [name for name, home in _HOMES.items() if home != "reefl_edge.models"]
    script = (
        "import sys, reefl_edge\n"
        f"for name in {light!r}: getattr(reefl_edge, name)\n"
        "heavy = {'torch', 'typer', 'onnx', 'executorch', 'coremltools'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )

    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("name", reefl_edge.__all__)
def test_a_public_name_is_there(name: str) -> None:
    assert getattr(reefl_edge, name).__doc__


def test_type_checkers_see_the_names_that_are_loaded_lazily() -> None:
    tree = ast.parse(Path(reefl_edge.__file__).read_text(encoding="utf-8"))
    seen = {
        alias.name: statement.module
        for block in tree.body
        if isinstance(block, ast.If)
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }

    assert seen == _HOMES


def _parameters(name: str) -> Iterator[tuple[str, object]]:
    function = getattr(reefl_edge, name)
    if inspect.isfunction(function):
        hints = inspect.get_annotations(function, eval_str=True)
        yield from ((parameter, hint) for parameter, hint in hints.items() if parameter != "return")


@pytest.mark.parametrize("name", reefl_edge.__all__)
def test_a_public_function_takes_a_path_as_text_too(name: str) -> None:
    assert [parameter for parameter, hint in _parameters(name) if hint is Path] == []


def test_another_name_is_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'opne_model'"):
        reefl_edge.opne_model  # noqa: B018 - the attribute is the test
