"""What suits a device, from the facts of its profile."""

import pytest

from reefl_edge.manifest import Precision, Target
from reefl_edge.profiling.device_profile import load_profile
from reefl_export.deployment import choose_deployment


@pytest.mark.parametrize(
    ("device", "target", "precision", "threads"),
    [
        ("pixel7", "executorch", "int8-dynamic", 4),  # two clusters of fast cores; the A55 are not
        ("rpi5", "onnx", "int8-dynamic", 4),
        ("iphone15", "coreml", "fp16", 2),
        ("laptop-x86", "onnx", "int8-dynamic", 2),
    ],
)
def test_a_device_gets_its_own_format_in_what_it_multiplies_fast_on_its_fast_cores(
    device: str, target: Target, precision: Precision, threads: int
) -> None:
    profile = load_profile(device)

    choice = choose_deployment(profile, profile.formats[0])

    assert (choice.target, choice.precision, choice.threads) == (target, precision, threads)
    assert all(choice.reasons)


def test_a_device_without_8_bit_instructions_gets_float32() -> None:
    from dataclasses import replace

    old = replace(load_profile("rpi5"), isa_features=("neon",))

    assert choose_deployment(old, "onnx").precision == "fp32"


def test_what_the_user_chose_stays() -> None:
    choice = choose_deployment(load_profile("pixel7"), "coreml", "palette4")

    assert (choice.target, choice.precision) == ("coreml", "palette4")
    assert "not among the formats" in choice.reasons[0]
    assert "as you asked" in choice.reasons[1]
