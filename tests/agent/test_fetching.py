"""What apt, pip and uv say when they fail, in one line of ours."""

import shutil
from pathlib import Path

import pytest

from reefl_edge.agent.debian import unpack_packages
from reefl_edge.agent.pins import pins_for
from reefl_edge.agent.wheels import install_wheels
from reefl_edge.errors import MissingToolchainError
from tests.agent.programs import write_program


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder in which programs are found, beside the shell's own."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in ("sh", "mkdir", "cat"):
        (folder / tool).symlink_to(shutil.which(tool) or tool)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("UV", raising=False)
    return folder


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """An empty folder."""
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def test_without_apt_a_folder_is_suggested(path: Path, work: Path) -> None:
    write_program(path / "dpkg-deb", "#!/bin/sh\n")

    with pytest.raises(MissingToolchainError) as caught:
        unpack_packages("arm64", work)
    assert str(caught.value) == (
        "building an agent from apt needs apt-get and apt-cache, which Debian and Ubuntu have; "
        "elsewhere name the root folder of a Debian system: --from FOLDER"
    )


def fake_apt(path: Path, *, names: str, update: str = "", download: str = "") -> None:
    """Write an apt whose sources have some packages, and what it says and does when asked."""
    script = f"#!/bin/sh\ncase $4 in update) {update or ':'} ;; download) {download or ':'} ;; esac"
    write_program(path / "apt-get", script)
    write_program(path / "apt-cache", f"#!/bin/sh\nprintf '{names}'")
    write_program(path / "dpkg-deb", "#!/bin/sh\n")


def test_sources_with_old_pythons_only_are_refused(path: Path, work: Path) -> None:
    fake_apt(path, names="libpython3.9-stdlib\\nlibpython3.10-stdlib\\nlibpython3.12-dbg\\n")

    with pytest.raises(MissingToolchainError) as caught:
        unpack_packages("arm64", work)
    assert str(caught.value) == "apt's sources have no Python of 3.11 or newer for arm64"


def test_sources_that_cannot_be_reached_are_the_reason(path: Path, work: Path) -> None:
    fake_apt(path, names="", update="echo 'W: Failed to fetch http://mirror/x  Could not connect'")

    with pytest.raises(MissingToolchainError) as caught:
        unpack_packages("x86-64", work)
    assert str(caught.value) == (
        "apt's sources have no Python of 3.11 or newer for amd64; its sources: "
        "Failed to fetch http://mirror/x  Could not connect"
    )


def test_a_package_that_is_not_there_is_named(path: Path, work: Path) -> None:
    refusal = "echo 'W: old'; echo 'E: Unable to locate package libffi8'; exit 100"
    fake_apt(path, names="libpython3.12-stdlib\\nlibpython3.11-stdlib\\n", download=refusal)

    with pytest.raises(MissingToolchainError) as caught:
        unpack_packages("arm64", work)
    assert str(caught.value) == "apt-get download failed: Unable to locate package libffi8"


def test_apt_reads_the_systems_sources_and_writes_in_its_folder_only(
    path: Path, work: Path
) -> None:
    fake_apt(
        path,
        names="libpython3.11-stdlib\\n",
        download='cat "$2" > seen; echo "$@" >> seen',
    )

    unpack_packages("arm64", work)

    seen = (work / "debs" / "seen").read_text()
    assert f'Dir::State "{work}";' in seen
    assert 'APT::Architectures { "arm64"; };' in seen
    assert "Dir::Etc" not in seen
    assert "python3.11-minimal libpython3.11-minimal" in seen
    assert "http" not in seen


def test_a_full_disk_is_told_as_what_it_is(path: Path, work: Path) -> None:
    fake_apt(path, names="", update="echo 'E: Write error - write (28: No space left on device)'; "
             "exit 100")  # fmt: skip

    with pytest.raises(OSError, match="No space left on device"):
        unpack_packages("arm64", work)


def test_without_an_installer_both_are_named(path: Path, work: Path) -> None:  # noqa: ARG001
    with pytest.raises(MissingToolchainError, match="needs pip or uv; install one of them"):
        install_wheels(pins_for("arm64", "3.11"), "arm64", "3.11", work / "site")


@pytest.mark.parametrize(
    ("installer", "words"),
    [
        ("uv", "--python-platform aarch64-manylinux_2_28"),
        ("pip", "--platform=manylinux_2_28_aarch64"),
    ],
)
def test_an_installer_is_asked_for_pinned_wheels_of_the_platform(
    installer: str, words: str, path: Path, work: Path
) -> None:
    write_program(path / installer, f'#!/bin/sh\necho "$@" > {work}/seen\ncat {work}/site.txt >&2')

    install_wheels(pins_for("arm64", "3.12"), "arm64", "3.12", work / "site")

    seen = (work / "seen").read_text()
    assert words in seen
    assert "--require-hashes --python-version 3.12" in seen
    assert "--only-binary :all:" in seen
    assert "http" not in seen


def test_an_index_that_cannot_be_reached_is_told_in_the_installers_words(
    path: Path, work: Path
) -> None:
    refusal = "WARNING: Retrying\\nERROR: No matching distribution found for numpy==9\\n"
    write_program(path / "pip3", f"#!/bin/sh\nprintf '{refusal}' >&2; exit 1")

    with pytest.raises(MissingToolchainError) as caught:
        install_wheels(pins_for("arm64", "3.11"), "arm64", "3.11", work / "site")
    assert str(caught.value) == (
        "fetching wheels for arm64 and Python 3.11 failed: No matching distribution found for "
        "numpy==9"
    )
