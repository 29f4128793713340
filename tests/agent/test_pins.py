"""Which packages an agent carries."""

import pytest

from reefl_edge.agent.arch import ARCHES, Arch
from reefl_edge.agent.pins import PACKAGES, Pin, pins_for, requirements


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.14"])
def test_every_package_is_pinned_once_with_hashes(arch: Arch, python: str) -> None:
    pins = pins_for(arch, python)

    assert sorted(pin.name for pin in pins) == sorted(PACKAGES)
    assert all(pin.hashes for pin in pins)


def test_a_package_may_have_another_version_for_another_python() -> None:
    numpy = {
        python: pin.version
        for python in ("3.11", "3.12")
        for pin in pins_for("arm64", python)
        if pin.name == "numpy"
    }

    assert numpy["3.11"] != numpy["3.12"]


def test_pins_are_written_as_installers_read_them() -> None:
    pins = (Pin(name="a", version="1", hashes=("sha256:00", "sha256:11")),)

    assert requirements(pins) == "a==1 --hash=sha256:00 --hash=sha256:11\n"
