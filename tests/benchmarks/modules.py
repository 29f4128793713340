"""How do the tests run a benchmark: as its users do, in a process of its own?"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run_module(name: str, *arguments: str) -> None:
    """Run a module; fail if it fails."""
    subprocess.run([sys.executable, "-m", name, *arguments], cwd=ROOT, check=True)
