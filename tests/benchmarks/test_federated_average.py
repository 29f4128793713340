"""Does the benchmark of averaging compare two ways to the same numbers?"""

from dataclasses import replace

import numpy as np

from benchmarks.apparatus.measured import measured_submodel
from benchmarks.federated_average import QUICK_SIZE, averaged, clients_of, plain_sum, zeros


def test_the_plain_sum_is_the_average_but_for_the_division() -> None:
    submodel = replace(measured_submodel(is_quick=True), regime="lora")
    updates = list(clients_of(submodel, QUICK_SIZE))
    weight = sum(update.provenance.num_examples for update in updates)

    average = averaged(submodel, updates, zeros(submodel))
    sums = plain_sum(submodel, updates)

    for name in ("accumulator.meta_token", "classifier.linear.weight", "blocks.0.attn.lora_q.b"):
        np.testing.assert_allclose(average[name], sums[name] / weight, rtol=1e-4, atol=1e-5)
