"""Which instruction set extensions does a machine have, by one set of names?

LLVM's names: device profiles use them. Systems have names of their own.
"""

from reefl_edge.devices.host import Host

# Instructions that multiply 8-bit integers faster than float32. On AVX2 alone the gain is small,
# and too small to pay for in accuracy.
INT8_FEATURES = frozenset({"dotprod", "i8mm", "avxvnni", "avx512vnni"})

# How Linux calls them.
_LINUX_FEATURES = {
    "asimd": "neon",
    "asimddp": "dotprod",
    "avx_vnni": "avxvnni",
    "avx512_vnni": "avx512vnni",
}


def isa_features(host: Host) -> tuple[str, ...]:
    """Return the extensions of a machine; those that LLVM calls otherwise by LLVM's name."""
    features = [_LINUX_FEATURES.get(feature, feature) for feature in host.cpu_features]
    if host.os.startswith("Darwin") and host.arch == "arm64":
        # macOS does not say. Source: llvm/llvm-project, AArch64Processors.td, apple-m1.
        features += ["neon", "dotprod"]
    return tuple(dict.fromkeys(features))
