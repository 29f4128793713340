"""How are the results of ``export_size`` shown?"""

from statistics import median

from benchmarks.sections.common import Document, bars_table, circumstances, table

INTRODUCTION = """\
## The size of a bundle

The single model is the network of the same depth with all its exits in one graph, exported by the
same road (in Core ML, which is not run here, with its last exit alone). Memory is the peak of runs
at steady state above the idle runtime, all segments loaded, fp32, 1 thread, each in fresh
processes; ratios are of medians. Every onnxruntime session packs the accumulator and the classifier
for itself (sessions share packed arrays through the C API alone): what a further exit takes stands
under Growth."""


def section(document: Document) -> str:
    """Render the section."""
    sizes = [
        (name, artifact, f"{num_bytes / 2**20:.1f}")
        for name, artifacts in document["size_bytes"].items()
        for artifact, num_bytes in artifacts.items()
    ]
    memory = [
        (name, f"{median(samples):.0f}", ", ".join(f"{each:.0f}" for each in samples))
        for name, samples in document["memory_mib"].items()
    ]
    return "\n\n".join(
        [
            INTRODUCTION,
            circumstances(document),
            bars_table(document),
            table(("model", "artifact", "MiB on disk"), sizes),
            table(("model", "MiB in memory", "of each process"), memory),
        ]
    )
