"""What does ExecuTorch make of the segments by itself, without any of our forms?"""

from reefl_edge.bundles.facts import METADATA_KEY
from reefl_edge.runtimes.executorch import PROGRAM_NAME
from reefl_export.conversion import Conversion
from reefl_export.quiet import quiet
from reefl_export.segments import trace_segments


@quiet("torch.utils._pytree")
def lower_in_the_stock_way(conversion: Conversion) -> None:
    """Lower every segment to XNNPACK as ExecuTorch's documentation does."""
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    programs = trace_segments(conversion.network, batch_size=1, forms={})
    lowered = to_edge_transform_and_lower(
        programs,
        partitioner=[XnnpackPartitioner()],
        # Without them, no runtime of ours opens the program.
        constant_methods={METADATA_KEY: conversion.facts},
    )
    (conversion.folder / PROGRAM_NAME).write_bytes(lowered.to_executorch().buffer)
