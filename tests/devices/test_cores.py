"""Cores: which are fast, from what Linux says of them."""

from pathlib import Path

import pytest

from reefl_edge.devices.cores import CoreCluster, clusters_in, fast_cores
from reefl_edge.devices.system_files import CORE_FILES, read_system_files

CPU = "/sys/devices/system/cpu"


def cores(**max_khz: int) -> dict[str, str]:
    """Return what a system says of its clocks, by the name of each core."""
    return {f"{CPU}/{name}/cpufreq/cpuinfo_max_freq": str(clock) for name, clock in max_khz.items()}


def test_a_phones_middle_cores_are_fast_and_its_small_ones_are_not() -> None:
    clocks = [1_803_000] * 4 + [2_348_000] * 2 + [2_850_000] * 2
    files = cores(**{f"cpu{index}": clock for index, clock in enumerate(clocks)})

    clusters = clusters_in(files)

    assert [cluster.cores for cluster in clusters] == [(6, 7), (4, 5), (0, 1, 2, 3)]
    assert clusters[0].max_mhz == 2850
    assert fast_cores(clusters) == (6, 7, 4, 5)


def test_what_linux_says_of_speed_counts_more_than_the_clock() -> None:
    files = cores(cpu0=2_000_000, cpu1=2_200_000) | {
        f"{CPU}/cpu0/cpu_capacity": "1024",
        f"{CPU}/cpu1/cpu_capacity": "350",
    }

    assert fast_cores(clusters_in(files)) == (0,)


def test_favoured_cores_of_one_design_leave_the_others_fast() -> None:
    assert fast_cores(clusters_in(cores(cpu0=5_000_000, cpu1=5_300_000))) == (1, 0)


def test_second_threads_of_a_core_are_filled_last() -> None:
    files = {
        f"{CPU}/cpu{index}/topology/thread_siblings_list": siblings
        for index, siblings in enumerate(["0-1", "0-1", "2-3", "2-3"])
    }

    assert clusters_in(files) == (CoreCluster(cores=(0, 2, 1, 3)),)


def test_cores_that_a_process_may_not_use_are_left_out() -> None:
    files = cores(**{f"cpu{index}": 1_500_000 for index in range(12)}) | {
        "/proc/self/status": "Name:\tsh\nCpus_allowed_list:\t0-1,10\nMems_allowed_list:\t0"
    }

    assert fast_cores(clusters_in(files)) == (0, 1, 10)


def test_a_system_that_says_nothing_has_no_clusters() -> None:
    assert clusters_in({}) == ()
    assert fast_cores(()) == ()


def test_a_core_is_in_a_cluster_once() -> None:
    with pytest.raises(ValueError, match="each of its cores once"):
        CoreCluster(cores=(1, 1))


def test_files_are_read_below_a_root_and_those_that_are_not_there_are_no_error(
    tmp_path: Path,
) -> None:
    folder = tmp_path / f"{CPU}/cpu3/cpufreq".removeprefix("/")
    folder.mkdir(parents=True)
    (folder / "cpuinfo_max_freq").write_text("1500000\n")

    files = read_system_files(CORE_FILES, root=tmp_path)

    assert files == {f"{CPU}/cpu3/cpufreq/cpuinfo_max_freq": "1500000"}
