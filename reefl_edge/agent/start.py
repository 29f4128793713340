"""How does an agent start, wherever it lies and whatever is set there?

``run`` is a script for any POSIX shell; where there is no ``/bin/sh`` it is started as ``sh run``.
It passes on its arguments, which are Python's (``entry.py``), and nothing of the environment but
``PATH`` and the lifeline (``devices/links/lifeline.py``): what is set on a device tunes no
measurement. Temporary files and the home folder lie in the agent.
"""

from reefl_edge.agent.arch import NAMES, Arch
from reefl_edge.agent.interpreter import PROGRAM
from reefl_edge.agent.sources import numbers

# Of an agent's folder.
SITE_NAME = "site"
TEMPORARY_NAME = "tmp"

_HEAD = """\
#!/bin/sh
# run -m MODULE ARGUMENTS... : Python with the packages of this folder, and with nothing else.
case $0 in */*) here=${0%/*} ;; *) here=. ;; esac
here=$(cd "$here" && pwd -P) || exit 126
"""
# Python's arguments: isolated, without what is installed beside it, text in UTF-8.
_START = f"""\
start() {{
  exec env -i PATH="$PATH" HOME="$here/{TEMPORARY_NAME}" TMPDIR="$here/{TEMPORARY_NAME}" \\
    LC_ALL=C TZ=UTC0 ORT_DISABLE_TELEMETRY=1 PYDANTIC_DISABLE_PLUGINS=1 \\
    ${{REEFL_EDGE_LIFELINE:+"REEFL_EDGE_LIFELINE=$REEFL_EDGE_LIFELINE"}} "$@"
}}
"""
_ARGUMENTS = f'-I -S -X utf8 "$here/{SITE_NAME}" "$@"'


def script_with_own_python(arch: Arch) -> str:
    """Return the start script of an agent that brings its Python.

    The loader is told where the libraries are: LD_LIBRARY_PATH would reach the system's own
    programs, too, when Python starts one.
    """
    loader = NAMES[arch].loader
    return (
        _HEAD
        + _START
        + (
            f'start "$here/lib/{loader}" --inhibit-cache --library-path "$here/lib" \\\n'
            f'  "$here/{PROGRAM}" {_ARGUMENTS}\n'
        )
    )


def script_with_device_python(version: str) -> str:
    """Return the start script of an agent that runs on a device's Python.

    Args:
        version: Of that Python, such as ``3.12``; ``REEFL_EDGE_PYTHON`` may say where it lies.
    """
    check = f"import sys; sys.exit(sys.version_info[:2] != {numbers(version)})"
    return (
        _HEAD
        + _START
        + (
            f"for python in ${{REEFL_EDGE_PYTHON:-python{version} python3}}; do\n"
            f'  if "$python" -I -S -c "{check}" 2>/dev/null; then\n'
            f'    start "$python" {_ARGUMENTS}\n'
            "  fi\n"
            "done\n"
            f'echo "error: there is no Python {version} here" >&2\n'
            "exit 127\n"
        )
    )
