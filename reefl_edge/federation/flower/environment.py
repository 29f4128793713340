"""What do Flower's programs find around them when we start them?

Left alone, Flower tells its makers of every run, asks them for newer versions, installs what an app
names, and keeps its files in the user's home; Ray tells its makers, too. What we start does none of
it: a home of its own, and nothing goes further than the federation.
"""

import os
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from reefl_edge.partials import partial_folder, sweep

# Each is read by Flower 1.42 (``flwr.supercore``, ``flwr.superlink.cli``), its uvicorn, or Ray 2.
QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    # The door (``door.py``) goes by the address that a request comes from, on the one port.
    "FORWARDED_ALLOW_IPS": "127.0.0.1",
    "FLWR_INTERNAL_GRPC_CONTROL_API": "0",
    "FLWR_INTERNAL_GRPC_FLEET_API": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    # A worker without a share of the GPU may still see it, as Ray is to have it; it warns else.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
# How often Flower looks for work, in seconds; its own 1 is a second lost for every message.
_POLL_INTERVAL_S = "0.1"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def flower_environment(home: Path, *, log_level: str = "ERROR") -> dict[str, str]:
    """Return the variables that Flower's programs are to be started with.

    Args:
        home: A folder of theirs: apps that were unpacked, connections, Ray's sockets and logs.
        log_level: What they say of their own work, from this level on.
    """
    inherited = dict(os.environ)
    # They start each other by name: those beside this Python, whatever the shell would find.
    scripts = sysconfig.get_path("scripts")
    return (
        inherited
        | QUIET
        | {
            "FLWR_HOME": str(home),
            "FLWR_LOG_LEVEL": log_level,
            "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": _POLL_INTERVAL_S,
            "RAY_TMPDIR": str(home / "ray"),
            "PATH": f"{scripts}{os.pathsep}{inherited.get('PATH', os.defpath)}",
            **past_proxies(inherited),
            "PYTHONUNBUFFERED": "1",  # progress is read as it is written
        }
    )


@contextmanager
def private_home() -> Iterator[Path]:
    """Give a home for Flower that is there while the block runs.

    What a process that was killed left goes now. Ray's sockets lie in it, and the path of a socket
    has about a hundred bytes: on macOS, the user's own temporary folder takes half of them.
    """
    base = Path("/tmp" if sys.platform == "darwin" else tempfile.gettempdir()) / "reefl-flower"
    sweep(base)
    with partial_folder(base, mode=0o700) as home:
        yield home


def past_proxies(environment: Mapping[str, str], *hosts: str) -> dict[str, str]:
    """Return the variables by which this machine is not asked for through a proxy.

    Args:
        environment: What is set already, for other hosts.
        hosts: Other names and addresses that this machine has.
    """
    before = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    names = dict.fromkeys((*filter(None, before.split(",")), *_LOOPBACK, *hosts))
    return dict.fromkeys(("NO_PROXY", "no_proxy"), ",".join(names))
