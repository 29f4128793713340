"""Which formats get a training step?"""

import pytest

from reefl_edge.bundles.artifacts import Target
from reefl_export.plan import ExportPlan


def test_only_onnx_gets_a_step_unasked() -> None:
    plan = ExportPlan.stock().with_training(["frozen"])

    assert plan.training is not None
    assert plan.training.targets == ("onnx",)


@pytest.mark.parametrize(
    ("formats", "targets"),
    [
        (("executorch",), ("executorch",)),
        (("executorch", "onnx"), ("onnx", "executorch")),
        (("coreml", "executorch"), ("executorch",)),
    ],
)
def test_a_format_asked_for_gets_a_step(
    formats: tuple[Target, ...], targets: tuple[Target, ...]
) -> None:
    plan = ExportPlan.stock(formats)
    plan = plan.with_training(["frozen"], formats=plan.formats)

    assert plan.training is not None
    assert plan.training.targets == targets


def test_a_format_that_was_planned_alone_gets_the_step_that_others_were_to_get() -> None:
    plan = ExportPlan.stock(["executorch"]).with_training(["frozen"], formats=["onnx"])

    assert plan.training is not None
    assert plan.training.targets == ("executorch",)


def test_a_step_goes_beside_inference_only() -> None:
    with pytest.raises(ValueError, match="no format planned takes training steps"):
        ExportPlan.stock(["coreml"]).with_training(["frozen"], formats=["onnx"])
