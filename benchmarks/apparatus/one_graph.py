"""What are the exported segments compared with: which networks of the same depth, in one graph?

* ``plain``: the backbone without any exit: patches, blocks, a norm and a linear layer on the last
  class token.
* ``all exits``: what the segments compute together; the logits of all exits side by side.

Both look like a network with a single exit, and are traced as a whole: the parts of which the ONNX
exporter makes graphs are those of a network that has an accumulator.
"""

from dataclasses import replace
from typing import Literal, assert_never

import torch
from torch import Tensor

from reefl_edge.models.accumulator import Cache
from reefl_edge.models.reefl import ReeFL
from reefl_edge.submodel import ExitSchedule, Submodel

GraphKind = Literal["plain", "all exits"]


class Plain(ReeFL):
    """The backbone alone, with a classifier at its end."""

    def run_segment(
        self,
        exit_index: int,  # noqa: ARG002 (the one there is)
        tokens: Tensor,
        cache: Cache | None,  # noqa: ARG002 (there is no accumulator)
    ) -> tuple[Tensor, Cache | None, Tensor]:
        """Run all blocks; the accumulator, and so the cache, has no part in it."""
        for block in self.blocks:
            tokens = block(tokens)
        return tokens, Cache(tokens, tokens), self.classifier(tokens[:, 0])


class AllExits(ReeFL):
    """All segments at once."""

    def run_segment(
        self,
        exit_index: int,  # noqa: ARG002 (the one there is)
        tokens: Tensor,
        cache: Cache | None,
    ) -> tuple[Tensor, Cache | None, Tensor]:
        """Run all segments; give the logits (B, E * C) of all exits."""
        logits = []
        for index in range(len(self.exit_blocks)):
            tokens, cache, exit_logits = super().run_segment(index, tokens, cache)
            logits.append(exit_logits)
        return tokens, cache, torch.cat(logits, dim=1)


def as_one_graph(network: ReeFL, kind: GraphKind) -> ReeFL:
    """Return a network with the same weights whose one segment is the whole of it."""
    submodel = seen_from_outside(network.submodel, kind)
    graph = (Plain if kind == "plain" else AllExits)(
        width=submodel.architecture.width,
        num_tokens=submodel.architecture.num_tokens,
        patch_embed=network.patch_embed,
        blocks=list(network.blocks),
        accumulator=network.accumulator,
        classifier=network.classifier,
        exit_blocks=network.exit_blocks,
        submodel=submodel,
    )
    graph.load_state_dict(network.state_dict())
    return graph.eval()


def seen_from_outside(submodel: Submodel, kind: GraphKind) -> Submodel:
    """Describe what goes into the graph and what comes out: one exit, as many classes as logits."""
    one_exit = replace(submodel, schedule=ExitSchedule(submodel.exit_blocks[-1:]), max_exit=0)
    match kind:
        case "plain":
            return one_exit
        case "all exits":
            num_logits = submodel.num_exits * submodel.architecture.num_classes
            architecture = replace(submodel.architecture, num_classes=num_logits)
            return replace(one_exit, architecture=architecture)
        case _:
            assert_never(kind)
