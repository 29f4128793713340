"""What does an agent's Python run first? This file is copied into the agent, as its ``__main__``.

Python runs the agent's folder of packages, isolated: the packages come before the standard library,
nothing that the device has installed or set comes in. Of Python's own arguments ``-m MODULE ...``
and ``-c CODE ...`` are known.
"""

import os
import runpy
import sys


def main() -> None:
    """Run a module or code, as Python would."""
    # What starts Python again starts the agent again, with its loader and its environment.
    agent = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
    sys.executable = os.path.join(agent, "run")  # noqa: PTH118 - pathlib takes a while to load
    match sys.argv[1:]:
        case ["-m", module, *rest]:
            sys.argv = [module, *rest]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        case ["-c", code, *rest]:
            sys.argv = ["-c", *rest]
            exec(code, {"__name__": "__main__"})
        case _:
            sys.exit("usage: run -m MODULE ARGUMENTS... | run -c CODE ARGUMENTS...")


if __name__ == "__main__":
    main()
