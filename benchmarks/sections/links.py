"""How are the results of ``links`` shown?"""

from benchmarks.sections.common import Document, bars_table, circumstances, table

INTRODUCTION = """\
## Links to devices

The same jobs on this machine and on a device that is this machine, too, at the end of a real
connection by ssh or by adb: what differs is the link. A use holds the device, describes it, and
does a job for each exit of a DeiT-S bundle. Bytes are counted on the cable: of the first use,
which pushes the bundle, and of a later one, which pushes nothing."""


def section(document: Document) -> str:
    """Render the section."""
    rows = [
        (
            kind,
            f"{found['more_s_per_job']['median']:.2f}",
            f"{found['pushed_bytes'] / 1e6:.1f}",
            f"{found['again_bytes'] / 1e3:.0f}",
        )
        for kind, found in document["links"].items()
    ]
    columns = ("link", "s more per job, median", "first use, MB there", "later use, kB there")
    return "\n\n".join(
        [INTRODUCTION, circumstances(document), bars_table(document), table(columns, rows)]
    )
