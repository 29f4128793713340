"""How does a program end, with all that it started, when whoever wanted it is gone?

Flower's programs start each other in sessions of their own, and each watches whether its parent is
still there: one that was killed and that nobody collects looks alive for ever. So a *keeper* stands
between us and them. It holds the end of a lifeline (``devices.links.lifeline``); when that ends,
the program is asked to end, then made to, and whatever it left is killed. On Linux, orphans come to
the keeper, so that nothing escapes it.

    python -m reefl_edge.federation.flower.keeper LIFELINE PROGRAM ARGUMENTS...
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading

import psutil

# Source: prctl(2), linux/prctl.h.
_PR_SET_CHILD_SUBREAPER = 36
# Flower's own programs give what they started a second, and force themselves after five.
GRACE_S = 6.0


def main() -> None:
    """Run a program until it ends or the lifeline does; end with its exit code."""
    lifeline, *command = sys.argv[1:]
    sys.exit(keep(int(lifeline), command))


def keep(lifeline: int, command: list[str]) -> int:
    """Run a program until it ends or the lifeline does.

    Args:
        lifeline: The inherited end of a pipe that nobody writes to.
        command: The program and its arguments.

    Returns:
        The program's exit code, negative for a signal.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    program = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    signal.signal(signal.SIGTERM, lambda *_: program.terminate())

    def end_with_lifeline() -> None:
        os.read(lifeline, 1)
        program.terminate()
        try:
            program.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            program.kill()

    threading.Thread(target=end_with_lifeline, daemon=True).start()
    code = program.wait()
    _kill_descendants()
    return code


def _kill_descendants() -> None:
    while left := psutil.Process().children(recursive=True):
        for process in left:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(left, timeout=1)


if __name__ == "__main__":
    main()
