"""What segments are compared with computes what it says, and goes through the exporters."""

import torch

from benchmarks.apparatus.one_graph import as_one_graph
from reefl_edge.models.arrays import random_network
from tests.fakes.submodels import tiny_submodel

IMAGES = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_all_exits_in_one_graph_are_the_logits_of_the_segments_side_by_side() -> None:
    network = random_network(tiny_submodel(), seed=0)
    graph = as_one_graph(network, "all exits")
    (segment,) = graph.submodel.segments()

    *_, logits = graph.run_segment(0, graph.embed(IMAGES), None)

    torch.testing.assert_close(logits, torch.cat(list(network(IMAGES)), dim=1))
    assert segment.outputs[0].shape == ("batch", logits.shape[1])


@torch.no_grad()
def test_the_plain_backbone_has_no_part_of_the_accumulator() -> None:
    network = random_network(tiny_submodel(), seed=0)
    expected = network.embed(IMAGES)
    for block in network.blocks:
        expected = block(expected)
    expected = network.classifier(expected[:, 0])
    torch.nn.init.constant_(network.accumulator.meta_token, torch.nan)
    graph = as_one_graph(network, "plain")

    *_, logits = graph.run_segment(0, graph.embed(IMAGES), None)

    torch.testing.assert_close(logits, expected)
    (segment,) = graph.submodel.segments()
    assert [spec.name for spec in segment.outputs] == ["logits"]
    assert len(segment.blocks) == len(network.blocks)
