"""Is this tree as fast as another commit's, measured in turns on the same machine?

``make bench BASE=COMMIT ONLY=training_step,export_speed``: the other commit is checked out into a
folder of its own, with an environment and a cache of its own; then processes of both take turns,
each taking the samples that the benchmark takes anyway. What both measured is compared: a figure is
*no worse* if the interval of its ratio contains 1 or lies below. The machine's own rate (``sgemm``)
stands beside the others: where that differs, the machine did.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.apparatus.documents import RESULTS, write
from benchmarks.apparatus.harness import ratio

ROOT = Path(__file__).parents[1]
SCRATCH = ROOT / ".bench"

# Runs a benchmark as ``-m`` does, but for what takes memory in processes of its own: that is not
# compared, and takes longer than the times that are. Here, for the other commit's tree, too.
_TIMES_ONLY = """
import sys
from importlib import import_module
module = import_module(f"benchmarks.{sys.argv.pop(1)}")
module.measure_memory = lambda *_: {}
module.main()
"""

# Of each figure, by name, what each process found.
Figures = dict[str, list[float]]


def main() -> None:
    """Measure both trees in turns and write how they compare."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("base", help="the commit to compare with")
    options.add_argument("--only", required=True, help="benchmarks, separated by commas")
    options.add_argument("--rounds", type=int, default=5, help="processes of each tree")
    options.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    options.add_argument("-o", "--output", type=Path, default=RESULTS / "against.json")
    arguments = options.parse_args()
    commit = _output_of("git", "rev-parse", "--verify", f"{arguments.base}^{{commit}}")
    trees = {"base": check_out(commit), "here": ROOT}
    found: dict[str, dict[str, Figures]] = {}
    compared: list[dict[str, Any]] = []
    for name in arguments.only.split(","):
        found[name] = in_turns(name, trees, rounds=arguments.rounds, is_quick=arguments.quick)
        compared += compare(name, found[name])
        write(  # after each: the next may take half an hour
            arguments.output,
            settings={
                "base": commit,
                "here": _output_of("git", "rev-parse", "HEAD"),
                "is_changed": bool(_output_of("git", "status", "--porcelain")),
                "rounds": arguments.rounds,
                "quick": arguments.quick,
            },
            compared=compared,
            found=found,
        )
    for row in compared:
        print(f"{row['ratio']:.3f} [{row['low']:.3f}, {row['high']:.3f}] {row['what']}")
    worse = [
        row["what"]
        for row in compared
        if not row["is_no_worse"] and not row["what"].endswith("sgemm")
    ]
    sys.exit(f"worse than {arguments.base}: {', '.join(worse)}" if worse else 0)


def check_out(commit: str) -> Path:
    """Return the other commit's tree, set up; it is kept for the next time."""
    tree = SCRATCH / commit
    if not tree.exists():
        subprocess.run(["git", "worktree", "prune"], cwd=ROOT, check=True)
        subprocess.run(
            ["git", "worktree", "add", "--detach", str(tree), commit], cwd=ROOT, check=True
        )
    subprocess.run(["make", "setup"], cwd=tree, check=True, stdout=sys.stderr)
    return tree


def in_turns(
    benchmark: str, trees: Mapping[str, Path], *, rounds: int, is_quick: bool
) -> dict[str, Figures]:
    """Run a benchmark in each tree, again and again, whoever was second going first the next time.

    Returns:
        By tree, the median of each figure's samples in each process.
    """
    found: dict[str, Figures] = {tree: {} for tree in trees}
    for index in range(rounds):
        order = list(trees)[:: 1 if index % 2 == 0 else -1]
        for tree in order:
            print(f"  {benchmark}: {index + 1} of {rounds}, {tree}", file=sys.stderr, flush=True)
            document = _run(benchmark, tree, trees[tree], is_quick=is_quick)
            for name, samples in samples_in(document["samples"]):
                found[tree].setdefault(name, []).append(median(samples))
    return found


def _run(benchmark: str, name: str, tree: Path, *, is_quick: bool) -> Any:
    output = SCRATCH / f"{benchmark}-{name}.json"
    environment = {
        **{key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        "REEFL_EDGE_HOME": str(SCRATCH / f"cache-{name}"),
    }
    subprocess.run(
        [
            str(tree / ".venv" / "bin" / "python"), "-c", _TIMES_ONLY, benchmark,
            *(["--quick"] if is_quick else []), "--output", str(output),
        ],
        cwd=tree,
        env=environment,
        check=True,
        stdout=sys.stderr,
    )  # fmt: skip
    return json.loads(output.read_text())


def samples_in(document: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Sequence[float]]]:
    """Give every list of wall times in a benchmark's samples, by where it stands.

    >>> list(samples_in({"1": {"onnx plain": {"wall_ms": [2.0], "cpu_ms": [1.0]}}}))
    [('1 onnx plain', [2.0])]
    """
    if not isinstance(document, dict):
        return
    if isinstance(document.get("wall_ms"), list):
        yield " ".join(path), document["wall_ms"]
        return
    for key, value in document.items():
        yield from samples_in(value, (*path, key))


def compare(benchmark: str, found: Mapping[str, Figures]) -> Iterator[dict[str, Any]]:
    """Compare what both trees measured, process by process in the order they ran."""
    base, here = found["base"], found["here"]
    for name in sorted(base.keys() & here.keys()):
        figure = ratio(here[name], base[name])
        yield {"what": f"{benchmark}: {name}", **figure, "is_no_worse": figure["low"] <= 1}


def _output_of(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip()


if __name__ == "__main__":
    main()
