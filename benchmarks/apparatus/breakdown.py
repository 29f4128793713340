"""Where does the time of a run go, by kind of operation?

From PyTorch's profiler: the time in each operation itself, without those it calls. Operations run
one after another, each on all threads, so that the kinds add up to the run.
"""

from torch.profiler import ProfilerActivity, profile

from benchmarks.apparatus.harness import Run

# First match wins; the rest is "other".
_KINDS = {
    "attention": ("attention",),
    "products": ("mm", "convolution"),
    "norms": ("layer_norm",),
    "gelu": ("gelu",),
    "softmax": ("softmax",),
    "copies": ("copy", "cat", "clone", "contiguous"),
    "element-wise": ("add", "sub", "mul", "div", "sum", "clamp", "exp", "where"),
}


def time_by_kind(run: Run) -> dict[str, float]:
    """Run once under the profiler; return each kind's share of the time in operations."""
    run()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        run()
    times: dict[str, float] = dict.fromkeys((*_KINDS, "other"), 0.0)
    for event in profiler.key_averages():
        times[_kind_of(event.key)] += event.self_cpu_time_total
    total = sum(times.values())
    return {kind: time / total for kind, time in times.items()}


def _kind_of(operation: str) -> str:
    name = operation.removeprefix("aten::")
    for kind, parts in _KINDS.items():
        if any(part in name for part in parts):
            return kind
    return "other"
