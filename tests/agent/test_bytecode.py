"""Modules compiled to the same bytes."""

import importlib.util
import subprocess
import sys
from pathlib import Path

from reefl_edge.agent.bytecode import compile_modules

VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"
MODULE = '''"""A module."""\nNAMES = {"a", "b", "c"}\nprint(__doc__, "a" in {"a", "b", "c"})\n'''


def make_agent(folder: Path) -> Path:
    (folder / "site" / "package").mkdir(parents=True)
    (folder / "site" / "module.py").write_text(MODULE)
    (folder / "site" / "package" / "__init__.py").write_text("import module\n")
    return folder


def test_the_same_modules_give_the_same_bytes_wherever_they_lie(tmp_path: Path) -> None:
    agents = [make_agent(tmp_path / name) for name in ("a", "a longer name")]

    for agent in agents:
        compile_modules({agent / "site": 0}, agent, VERSION)

    first, second = (
        {path.relative_to(agent): path.read_bytes() for path in agent.rglob("*") if path.is_file()}
        for agent in agents
    )
    assert first == second
    assert {path.name for path in first} == {"module.pyc", "__init__.pyc"}
    assert str(tmp_path).encode() not in b"".join(first.values())


def test_compiled_modules_run_and_level_2_leaves_docstrings_out(tmp_path: Path) -> None:
    agent = make_agent(tmp_path / "agent")
    compile_modules({agent / "site": 2}, agent, VERSION)

    ran = subprocess.run(
        [sys.executable, "-c", "import package"],
        cwd=agent / "site", capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert ran.stdout == "None True\n"


def test_bytecode_is_not_held_to_a_source(tmp_path: Path) -> None:
    agent = make_agent(tmp_path)
    assert compile_modules({agent / "site": 0}, agent, VERSION) is not None

    compiled = (agent / "site" / "module.pyc").read_bytes()

    assert compiled[:4] == importlib.util.MAGIC_NUMBER
    assert int.from_bytes(compiled[4:8], "little") == 0b01  # by hash, unchecked: PEP 552


def test_without_a_python_of_that_version_the_sources_stay(tmp_path: Path) -> None:
    agent = make_agent(tmp_path)

    assert compile_modules({agent / "site": 0}, agent, "3.99") is None
    assert (agent / "site" / "module.py").read_text() == MODULE
