"""What bounds how fast a device computes."""

from dataclasses import replace

import pytest

from reefl_edge.devices.cores import CoreCluster
from reefl_edge.devices.isa import isa_features
from reefl_edge.devices.processor import Processor
from reefl_edge.devices.profiles import load_profile
from tests.fakes.devices import HOST


def test_the_fastest_cores_are_used_first() -> None:
    pixel = Processor.of_profile(load_profile("pixel7"))

    # Cortex-X1: 4 vectors of 4 float32 at 2.85 GHz; Cortex-A78: 2 at 2.35; Cortex-A55: 1 at 1.8.
    assert pixel.peak_gmacs(1, "fp32") == pytest.approx(4 * 4 * 2.85)
    assert pixel.peak_gmacs(4, "fp32") == pytest.approx(2 * 4 * (4 * 2.85 + 2 * 2.35))
    assert pixel.peak_gmacs(8, "fp32") == pytest.approx(2 * 4 * (4 * 2.85 + 2 * 2.35) + 4 * 4 * 1.8)
    assert pixel.fastest_ghz == 2.85


@pytest.mark.parametrize(
    ("device", "gain"), [("rpi4", 2), ("pixel7", 4), ("pixel8", 8), ("laptop-x86", 4)]
)
def test_8_bits_gain_what_the_instructions_gain(device: str, gain: int) -> None:
    processor = Processor.of_profile(load_profile(device))

    assert processor.peak_gmacs(1, "int8-dynamic") == gain * processor.peak_gmacs(1, "fp32")


def test_what_nobody_could_look_up_is_assumed_and_said() -> None:
    phone = Processor.of_profile(load_profile("iphone12"))
    board = Processor.of_profile(load_profile("rpi5"))

    assert any("Firestorm" in assumption for assumption in phone.assumptions)
    assert phone.memory_gb_per_s == 34.1
    assert board.assumptions == ("its memory bandwidth is not known: no limit from there",)


def test_the_clock_of_a_machine_is_taken_where_it_says_so() -> None:
    clusters = (CoreCluster(cores=(4, 5), max_mhz=3000), CoreCluster(cores=(0,), max_mhz=2000))
    board = Processor.of_host(replace(HOST, clusters=clusters))

    assert board.fastest_ghz == 3
    assert board.peak_gmacs(3, "fp32") == pytest.approx(8 * 2 * (3 + 3 + 2))
    assert board.assumptions == ()


def test_a_machine_tells_its_features_but_not_always_its_clock() -> None:
    old = Processor.of_host(HOST)
    new = Processor.of_host(replace(HOST, cpu_features=("avx2", "avx512f", "avx512_vnni")))

    assert old.peak_gmacs(2, "fp32") == new.peak_gmacs(2, "fp32") == 2 * 8 * 2 * 2.5
    assert new.peak_gmacs(1, "int8-static") == 2 * old.peak_gmacs(1, "int8-static")
    assert "clock" in old.assumptions[0]


def test_more_threads_than_cores_are_refused() -> None:
    with pytest.raises(ValueError, match="threads must be from 1 to 4, the cores there, got 5"):
        Processor.of_profile(load_profile("rpi4")).peak_gmacs(5, "fp32")


def test_systems_names_become_llvm_s() -> None:
    arm = replace(HOST, cpu_features=("asimd", "asimddp", "i8mm"))
    mac = replace(HOST, os="Darwin 24.0", arch="arm64", cpu_features=())

    assert isa_features(arm) == ("neon", "dotprod", "i8mm")
    assert isa_features(mac) == ("neon", "dotprod")
