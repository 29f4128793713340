"""How fast can a device multiply at most, by what is known of it?

Clock times cores times the products that a core begins in a cycle; a program reaches a part of
that, which a calibration finds (``profiling/cost_model.py``).
"""

from dataclasses import dataclass
from typing import Self

from reefl_edge.bundles.artifacts import Precision
from reefl_edge.devices.host import Host
from reefl_edge.devices.isa import isa_features
from reefl_edge.devices.profiles import CpuCluster, DeviceProfile

# Registers of this many float32 are multiplied by one instruction. AVX-512 counts as AVX2: where it
# is, cores begin one such instruction in a cycle instead of two of AVX2 (Zen 4, most of Intel's).
_LANES = {"avx2": 8, "neon": 4}
_LANES_WITHOUT = 4  # SSE
# What one instruction multiplies, of 8 bits, beside float32. Without such an instruction products
# of 16 bits have to do.
_INT8_GAINS = {"i8mm": 8, "avx512vnni": 4, "avxvnni": 4, "dotprod": 4}
_INT8_GAIN_WITHOUT = 2

# Taken where nobody could look it up.
_USUAL_VECTOR_UNITS = 2
_USUAL_GHZ = 2.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Processor:
    """What bounds how fast a device computes.

    Attributes:
        core_gmacs: Products of float32 that each core makes at most, 10^9 a second; the cores that
            are used first come first.
        fastest_ghz: The clock of the first core.
        int8_gain: How many products of 8 bits take the time of one of float32.
        memory_gb_per_s: What its memory delivers at most; None if unknown.
        assumptions: What of this was taken for lack of a fact, in words.
    """

    core_gmacs: tuple[float, ...]
    fastest_ghz: float
    int8_gain: int
    memory_gb_per_s: float | None
    assumptions: tuple[str, ...]

    @classmethod
    def of_profile(cls, profile: DeviceProfile) -> Self:
        """Take the facts that somebody wrote down."""
        lanes, int8_gain = _widths(profile.isa_features)
        assumptions = [
            f"nobody could look up how much a {cluster.name} multiplies in a cycle: "
            f"{_USUAL_VECTOR_UNITS} vectors assumed"
            for cluster in profile.cpu_clusters
            if cluster.vector_units is None
        ]
        if profile.memory_gb_per_s is None:
            assumptions.append("its memory bandwidth is not known: no limit from there")
        return cls(
            core_gmacs=tuple(
                lanes * _vectors_per_ns(cluster)
                for cluster in profile.cpu_clusters
                for _ in range(cluster.num_cores)
            ),
            fastest_ghz=profile.cpu_clusters[0].max_ghz,
            int8_gain=int8_gain,
            memory_gb_per_s=profile.memory_gb_per_s,
            assumptions=tuple(assumptions),
        )

    @classmethod
    def of_host(cls, host: Host) -> Self:
        """Take what a machine says of itself, which often is not its clock."""
        lanes, int8_gain = _widths(isa_features(host))
        clocks_mhz = [each.max_mhz for each in host.clusters for _ in each.cores]
        known = [mhz / 1000 for mhz in clocks_mhz if mhz is not None]
        is_known = bool(known) and len(known) == len(clocks_mhz)
        ghz = known if is_known else [_USUAL_GHZ] * host.num_cores
        assumed = () if is_known else (f"its clock is not known: {_USUAL_GHZ:g} GHz assumed",)
        return cls(
            core_gmacs=tuple(lanes * _USUAL_VECTOR_UNITS * each for each in ghz),
            fastest_ghz=ghz[0],
            int8_gain=int8_gain,
            memory_gb_per_s=None,
            assumptions=assumed,
        )

    def peak_gmacs(self, threads: int, precision: Precision) -> float:
        """Return the products that some threads make at most, 10^9 a second.

        Raises:
            ValueError: There are not so many cores.
        """
        if not 1 <= threads <= len(self.core_gmacs):
            raise ValueError(
                f"threads must be from 1 to {len(self.core_gmacs)}, the cores there, got {threads}"
            )
        gain = self.int8_gain if precision.startswith("int8") else 1
        return gain * sum(self.core_gmacs[:threads])


def _vectors_per_ns(cluster: CpuCluster) -> float:
    return cluster.max_ghz * (cluster.vector_units or _USUAL_VECTOR_UNITS)


def _widths(features: tuple[str, ...]) -> tuple[int, int]:
    """Return the float32 of a register, and the gain of 8 bits."""
    lanes = next((width for name, width in _LANES.items() if name in features), _LANES_WITHOUT)
    gains = (gain for name, gain in _INT8_GAINS.items() if name in features)
    return lanes, next(gains, _INT8_GAIN_WITHOUT)
