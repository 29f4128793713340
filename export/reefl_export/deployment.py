"""Which artifact should a device get, and how many threads should run it?

Chosen from the facts of its profile, not from measurements: a report of ``reefl-edge profile`` on
the device itself says more.
"""

from dataclasses import dataclass
from typing import Self

from reefl_edge.bundles.artifacts import Precision, Target
from reefl_edge.devices.host import Host, describe_host
from reefl_edge.devices.isa import INT8_FEATURES, isa_features
from reefl_edge.devices.profiles import LOCAL_DEVICE, DeviceProfile, load_profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What decides what suits a device.

    Attributes:
        name: The name of its profile; None for this machine.
        title: How people call it.
        formats: Artifacts it can run, in the order in which it runs them best.
        isa_features: Instruction set extensions that all its cores have, as LLVM names them.
        fast_cores: How many cores it has that are not built to save energy.
    """

    name: str | None
    title: str
    formats: tuple[Target, ...]
    isa_features: tuple[str, ...]
    fast_cores: int

    @classmethod
    def named(cls, device: str) -> Self:
        """Take them from this machine, or from a device profile.

        Args:
            device: ``local``, or what ``load_profile`` takes.

        Raises:
            InputError: ``device`` is a path to a profile that is missing or damaged.
            ValueError: No device has this name.
        """
        if device == LOCAL_DEVICE:
            return cls.of_host(describe_host())
        return cls.of_profile(load_profile(device))

    @classmethod
    def of_profile(cls, profile: DeviceProfile) -> Self:
        """Take them from what was written down of a device."""
        return cls(
            name=profile.name,
            title=profile.title,
            formats=profile.formats,
            isa_features=profile.isa_features,
            fast_cores=profile.num_fast_cores,
        )

    @classmethod
    def of_host(cls, host: Host) -> Self:
        """Take them from what this machine says of itself."""
        return cls(
            name=None,
            title="this machine",
            formats=("onnx", "executorch"),
            isa_features=isa_features(host),
            fast_cores=host.num_usable_cores,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """What suits a device.

    Attributes:
        target: The format.
        precision: Its precision.
        threads: Threads to run it with.
        reasons: Why, a sentence for each.
    """

    target: Target
    precision: Precision
    threads: int
    reasons: tuple[str, ...]


def suggest_deployment(
    device: Capabilities, target: Target, precision: Precision | None = None
) -> Suggestion:
    """Suggest precision and threads for a format on a device.

    Args:
        device: What it can run.
        target: The format.
        precision: The precision, where the user has chosen.
    """
    precision, why = (precision, "as you asked") if precision else _precision(device, target)
    return Suggestion(
        target=target,
        precision=precision,
        threads=device.fast_cores,
        reasons=(
            f"{target}: {_rank(device, target)}",
            f"{precision}: {why}",
            f"{device.fast_cores} threads: one for each of its fast cores",
        ),
    )


def _rank(device: Capabilities, target: Target) -> str:
    if target == device.formats[0]:
        return f"what {device.title} runs best"
    if target in device.formats:
        return f"{device.title} runs it, {device.formats[0]} better"
    return f"not among the formats that {device.title} is known to run"


def _precision(device: Capabilities, target: Target) -> tuple[Precision, str]:
    if target == "coreml":
        return "fp16", "what the Neural Engine computes in"
    fast = sorted(INT8_FEATURES.intersection(device.isa_features))
    if fast:
        return "int8-dynamic", f"all its cores have {fast[0]}, made for 8-bit products"
    return "fp32", "it has no instructions made for 8-bit products"
