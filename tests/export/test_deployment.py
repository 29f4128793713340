"""What suits a device, from the facts of its profile."""

from dataclasses import replace
from typing import Any

import pytest

from reefl_edge.bundles.artifacts import Precision, Target
from reefl_edge.devices.profiles import load_profile
from reefl_export.deployment import Capabilities, suggest_deployment
from tests.fakes.devices import HOST


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
    facts = Capabilities.of_profile(load_profile(device))

    choice = suggest_deployment(facts, facts.formats[0])

    assert (choice.target, choice.precision, choice.threads) == (target, precision, threads)
    assert all(choice.reasons)


def test_a_device_without_8_bit_instructions_gets_float32() -> None:
    old = replace(load_profile("rpi5"), isa_features=("neon",))

    assert suggest_deployment(Capabilities.of_profile(old), "onnx").precision == "fp32"


def test_what_the_user_chose_stays() -> None:
    pixel = Capabilities.of_profile(load_profile("pixel7"))

    choice = suggest_deployment(pixel, "coreml", "palette4")

    assert (choice.target, choice.precision) == ("coreml", "palette4")
    assert "not among the formats" in choice.reasons[0]
    assert "as you asked" in choice.reasons[1]


@pytest.mark.parametrize(
    ("changes", "precision"),
    [
        ({"cpu_features": ("avx2", "fma")}, "fp32"),
        ({"cpu_features": ("avx2", "avx_vnni")}, "int8-dynamic"),
        ({"cpu_features": ("avx512f", "avx512_vnni")}, "int8-dynamic"),
        ({"cpu_features": ("fp", "asimd", "asimddp")}, "int8-dynamic"),
        ({"cpu_features": (), "os": "Darwin 24.0", "arch": "arm64"}, "int8-dynamic"),
    ],
)
def test_this_machine_gets_what_its_own_processor_multiplies_fast(
    changes: dict[str, Any], precision: Precision
) -> None:
    facts = Capabilities.of_host(replace(HOST, **changes))

    choice = suggest_deployment(facts, "onnx")

    assert (choice.precision, choice.threads) == (precision, HOST.num_usable_cores)
    assert choice.reasons[0] == "onnx: what this machine runs best"
