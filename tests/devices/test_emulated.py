"""This machine as a twin of another: it kills what would not fit there."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from reefl_edge.devices.links import memory_group as groups
from reefl_edge.devices.links.emulated import EmulatedLink
from reefl_edge.devices.links.opening import link_for
from reefl_edge.devices.profiles import DeviceProfile, load_profile
from reefl_edge.errors import DeviceError, MeasurementError

SMALL = replace(load_profile("rpi3b-plus"), name="small", memory_mib=96)
ONE_CORE = replace(
    SMALL, cpu_clusters=(replace(SMALL.cpu_clusters[0], num_cores=1),), name="one-core"
)


@pytest.fixture(autouse=True)
def _needs_groups() -> None:
    try:
        with groups.memory_group(2**26):
            pass
    except DeviceError as error:
        pytest.skip(str(error))


def holding(mib: int) -> list[str]:
    """Return a program that fills so much memory and says how much."""
    code = f"data = b'x' * ({mib} * 2**20); print(len(data))"
    return [sys.executable, "-c", code]


def twin(profile: DeviceProfile = SMALL) -> EmulatedLink:
    return EmulatedLink(profile)


def test_what_fits_runs_and_what_does_not_is_killed() -> None:
    assert twin().run(holding(40)).stdout == b"41943040\n"

    with pytest.raises(MeasurementError, match=r"it does not fit: .* 96 MiB of emu:small"):
        twin().run(holding(160))


def test_what_fails_otherwise_is_told_as_it_is() -> None:
    finished = twin().run([sys.executable, "-c", "import sys; sys.exit('no')"])

    assert finished.exit_code == 1
    assert finished.stderr == b"no\n"


def test_children_count_too() -> None:
    code = f"import subprocess, sys; sys.exit(subprocess.run({holding(160)!r}).returncode != 0)"

    with pytest.raises(MeasurementError, match="does not fit"):
        twin().run([sys.executable, "-c", code])


def test_the_program_finds_the_cores_and_the_memory_of_the_device() -> None:
    link = twin(ONE_CORE)

    seen = link.run([sys.executable, "-c", "import os; print(len(os.sched_getaffinity(0)))"])

    assert seen.stdout == b"1\n"
    assert len(os.sched_getaffinity(0)) >= 1
    host = link.describe()
    assert (host.num_cores, host.num_usable_cores, host.memory_total_mib) == (1, 1, 96)


def test_it_is_never_taken_for_the_device() -> None:
    link = link_for("emu:pixel7")

    assert link.name == "emu:pixel7"
    assert not link.is_real_hardware


def test_no_group_is_left_behind() -> None:
    with groups.memory_group(2**26) as group:
        place = group.path.parent
        assert group.path.is_dir()
    before = sorted(place.iterdir())

    twin().run(holding(1))
    with pytest.raises(TimeoutError):
        twin().run([sys.executable, "-c", "import time; time.sleep(60)"], timeout_s=0.5)
    with pytest.raises(DeviceError, match="cannot start /no-such-program: no such program"):
        twin().run(["/no-such-program"])

    assert sorted(path for path in before if path.is_dir()) == sorted(
        path for path in place.iterdir() if path.is_dir()
    )


def test_a_device_of_several_sizes_has_to_be_told_which() -> None:
    with pytest.raises(
        DeviceError, match=r"Raspberry Pi 4 .*'reefl-edge profile' takes it as --mem"
    ):
        link_for("emu:rpi4")

    assert EmulatedLink(load_profile("rpi4"), memory_mib=128).describe().memory_total_mib == 128


def test_where_no_process_can_be_held_to_a_limit_it_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(groups, "_places", lambda: iter(()))

    with pytest.raises(DeviceError, match="no control groups for memory"):
        twin()


def test_a_place_that_lets_us_make_no_group_is_passed_by(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # A folder that is no control group has no limit to set.
    version = groups._VERSIONS[0]
    places = [(version, tmp_path), (version, tmp_path / "absent")]
    monkeypatch.setattr(groups, "_places", lambda: iter(places))

    with pytest.raises(DeviceError, match=r"no such file or directory"):
        twin()
    assert list(tmp_path.iterdir()) == []
