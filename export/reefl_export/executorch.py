"""How do traced segments become one ExecuTorch program: a method per segment, on XNNPACK?

Traced in the forms of ``segments.FORMS``, a segment is one delegated subgraph but for the cast of
the 8-bit images. That matters twice: each subgraph is lowered by some fifty passes of its own, and
hands its outputs over in memory at run time.
"""

from reefl_edge.files import write_bytes
from reefl_edge.runtimes.executorch import PROGRAM_NAME
from reefl_export.job import ExportJob
from reefl_export.quiet import quiet
from reefl_export.segments import FORMS, trace_segments


@quiet("torch.utils._pytree")
def export_executorch(job: ExportJob) -> None:
    """Lower every segment to XNNPACK and write them as the methods of one program."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower
    from executorch.exir.passes.constant_prop_pass import constant_prop_pass

    job.say("trace")
    programs = trace_segments(job.network, batch_size=1, forms=FORMS["executorch"])
    job.say("lower to XNNPACK")
    # What depends on weights alone (the meta token's row, the rows of the depth embedding) is
    # computed now; XNNPACK takes a product only with a constant that is one from the start.
    folded = {
        name: constant_prop_pass(program.run_decompositions({}))
        for name, program in programs.items()
    }
    lowered = to_edge_transform_and_lower(folded, partitioner=[XnnpackPartitioner()])
    write_bytes(job.folder / PROGRAM_NAME, lowered.to_executorch().buffer)
