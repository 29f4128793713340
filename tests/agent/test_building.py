"""An agent, built once, found again, listed and removed; without apt and without a network."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from reefl_edge.agent import store
from reefl_edge.agent.agent import Agent
from reefl_edge.agent.building import agent_for, build_agent, is_current
from reefl_edge.agent.sources import DevicePython, RootFolder
from reefl_edge.errors import InputError, MissingToolchainError
from tests.agent.programs import INSTALLER, write_program
from tests.agent.roots import make_root

VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"
# Of no Python that compiles anything here: it is built at once.
UNKNOWN = "3.98"


@pytest.fixture(autouse=True)
def installer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installer that needs no index, and a cache of its own."""
    program = write_program(tmp_path / "uv", INSTALLER)
    monkeypatch.setenv("UV", str(program))
    monkeypatch.setenv("REEFL_EDGE_HOME", str(tmp_path / "home"))
    return program


def run(agent: Agent, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [str(agent.folder / "run"), *arguments],
        env={"PATH": os.environ["PATH"], **environment}, capture_output=True, text=True,
    )  # fmt: skip


def test_an_agent_for_a_devices_python_runs_on_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = build_agent("x86-64", DevicePython(VERSION))
    (tmp_path / "numpy.py").write_text("raise SystemExit('imported from where the user stands')")
    monkeypatch.chdir(tmp_path)

    code = "import sys, importlib.metadata as m; print(sys.executable, m.version('package'))"
    ran = run(agent, "-c", code, REEFL_EDGE_PYTHON=sys.executable, PYTHONPATH=str(tmp_path))

    assert ran.stdout == f"{agent.folder}/run 1\n", ran.stderr
    module = run(agent, "-m", "package", REEFL_EDGE_PYTHON=sys.executable)
    assert module.stdout == "hello __main__\n"
    installed = run(agent, "-c", "import pytest", REEFL_EDGE_PYTHON=sys.executable)
    assert "ModuleNotFoundError: No module named 'pytest'" in installed.stderr
    assert agent.manifest.source == "device-python"
    assert not agent.has_own_python


def test_a_device_without_that_python_is_told_so() -> None:
    agent = build_agent("x86-64", DevicePython(UNKNOWN))

    ran = run(agent, "-m", "package", REEFL_EDGE_PYTHON=sys.executable)

    assert (ran.returncode, ran.stderr) == (127, "error: there is no Python 3.98 here\n")
    assert agent.manifest.compiled_by is None


def test_other_arguments_of_python_are_refused() -> None:
    agent = build_agent("x86-64", DevicePython(VERSION))

    ran = run(agent, "script.py", REEFL_EDGE_PYTHON=sys.executable)

    assert ran.returncode == 1
    assert ran.stderr.startswith("usage: run -m MODULE")


def test_what_was_built_is_found_again(installer: Path) -> None:
    stages: list[str] = []
    first = build_agent("arm64", DevicePython(UNKNOWN), on_stage=stages.append)
    assert stages[0] == "fetching wheels for arm64 and Python 3.98"

    installer.unlink()

    assert build_agent("arm64", DevicePython(UNKNOWN)) == first
    assert is_current(first)


def test_the_same_sources_give_the_same_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build_agent("x86-64", RootFolder(make_root(tmp_path / "root")))
    monkeypatch.setenv("REEFL_EDGE_HOME", str(tmp_path / "another-home"))

    second = build_agent("x86-64", RootFolder(make_root(tmp_path / "other-root")))

    assert second.folder != first.folder
    assert second.sha256 == first.sha256


def test_an_agent_from_a_folder_serves_a_device_where_there_is_no_apt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_agent("x86-64", DevicePython(UNKNOWN))
    agent = build_agent("x86-64", RootFolder(make_root(tmp_path / "root")))
    monkeypatch.setenv("PATH", "")

    assert agent_for("x86_64") == agent
    with pytest.raises(MissingToolchainError, match="from apt needs apt-get"):
        agent_for("aarch64")


def test_an_agent_of_other_code_serves_no_device_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = build_agent("x86-64", RootFolder(make_root(tmp_path / "root")))
    manifest = agent.folder / "agent.json"
    document = {**json.loads(manifest.read_text()), "recipe_sha256": "0" * 64}
    manifest.write_text(json.dumps(document))
    monkeypatch.setenv("PATH", "")

    (old,) = store.list_agents()

    assert not is_current(old)
    with pytest.raises(MissingToolchainError):
        agent_for("x86_64")


def test_a_damaged_agent_is_built_again() -> None:
    agent = build_agent("x86-64", DevicePython(UNKNOWN))
    agent.archive.write_bytes(b"half")

    assert store.list_agents() == ()
    assert build_agent("x86-64", DevicePython(UNKNOWN)) == agent
    assert agent.archive.stat().st_size == agent.archive_bytes


@pytest.mark.parametrize("missing", ["archive.json", "agent/agent.json", "agent.tar.gz"])
def test_a_part_that_is_missing_makes_it_none(missing: str) -> None:
    agent = build_agent("x86-64", DevicePython(UNKNOWN))
    (agent.folder.parent / missing).unlink()

    with pytest.raises(InputError):
        Agent.open(agent.folder.parent)


def test_a_failed_build_leaves_nothing(installer: Path) -> None:
    write_program(installer, "#!/bin/sh\necho 'error: no network' >&2; exit 2\n")

    with pytest.raises(MissingToolchainError, match="failed: no network"):
        build_agent("x86-64", DevicePython(UNKNOWN))

    assert [path.name for path in store.agents_folder().iterdir()] == [".lock"]


def test_a_full_disk_leaves_nothing(installer: Path) -> None:
    write_program(installer, "#!/bin/sh\necho 'No space left on device' >&2; exit 2\n")

    with pytest.raises(OSError, match="No space left on device") as caught:
        build_agent("x86-64", DevicePython(UNKNOWN))

    assert caught.value.errno == errno.ENOSPC
    assert store.list_agents() == ()


def test_agents_are_removed_one_or_all() -> None:
    first = build_agent("x86-64", DevicePython(UNKNOWN))
    second = build_agent("arm64", DevicePython(UNKNOWN))
    (store.agents_folder() / "notes").mkdir()

    assert store.find_agent(first.sha256[:8]) == first
    assert store.remove_agent(first) > first.archive_bytes
    assert store.list_agents() == (second,)
    assert store.clear_agents() > 0
    assert {path.name for path in store.agents_folder().iterdir()} == {".lock", "notes"}
    assert store.clear_agents() == 0


@pytest.mark.parametrize("name", ["", "0", "nosuch"])
def test_a_name_of_no_agent_is_refused(name: str) -> None:
    build_agent("x86-64", DevicePython(UNKNOWN))

    with pytest.raises(ValueError, match=r"names . agents; give 4 digits or more of the hash"):
        store.find_agent(name)


def test_a_folder_that_is_no_root_is_refused_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is this a Debian root"):
        build_agent("arm64", RootFolder(tmp_path))
    assert not store.agents_folder().exists()
