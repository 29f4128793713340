"""Which artifact should a device get, and how many threads should run it?

Chosen from the facts of its profile, not from measurements: a report of ``reefl-edge profile`` on
the device itself says more.
"""

from dataclasses import dataclass

from reefl_edge.manifest import Precision, Target
from reefl_edge.profiling.device_profile import DeviceProfile

# Instructions that multiply 8-bit integers faster than float32, as LLVM names them. On AVX2 alone
# the gain is small, and too small to pay for in accuracy.
INT8_FEATURES = frozenset({"dotprod", "i8mm", "avxvnni", "avx512vnni"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
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


def choose_deployment(
    profile: DeviceProfile, target: Target, precision: Precision | None = None
) -> Choice:
    """Choose precision and threads for a format on a device.

    Args:
        profile: The facts; its formats stand in the order in which it runs them best.
        target: The format.
        precision: The precision, where the user has chosen.
    """
    precision, why = (precision, "as you asked") if precision else _precision(profile, target)
    fast = [cluster for cluster in profile.cpu_clusters if not cluster.is_efficiency]
    threads = sum(cluster.num_cores for cluster in fast) or profile.num_cores
    return Choice(
        target=target,
        precision=precision,
        threads=threads,
        reasons=(
            f"{target}: {_rank(profile, target)}",
            f"{precision}: {why}",
            f"{threads} threads: one for each of its fast cores",
        ),
    )


def _rank(profile: DeviceProfile, target: Target) -> str:
    if target == profile.formats[0]:
        return f"what {profile.title} runs best"
    if target in profile.formats:
        return f"{profile.title} runs it, {profile.formats[0]} better"
    return f"not among the formats that {profile.title} is known to run"


def _precision(profile: DeviceProfile, target: Target) -> tuple[Precision, str]:
    if target == "coreml":
        return "fp16", "what the Neural Engine computes in"
    fast = sorted(INT8_FEATURES.intersection(profile.isa_features))
    if fast:
        return "int8-dynamic", f"all its cores have {fast[0]}, made for 8-bit products"
    return "fp32", "it has no instructions made for 8-bit products"
