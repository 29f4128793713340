"""Which artifacts do the options of ``reefl-edge export`` ask for?"""

from reefl_edge.bundles.artifacts import PRECISIONS, TARGETS
from reefl_edge.cli import options
from reefl_export.deployment import Capabilities
from reefl_export.plan import ExportPlan
from reefl_export.recipe import read_recipe


def plan_of(
    *,
    formats: str | None,
    precisions: str | None,
    recipes: list[str],
    device: str | None,
    batch_sizes: str | None,
    adaptive_graph: bool,
) -> ExportPlan:
    """Return what the options ask for.

    Args:
        formats: Formats, separated by commas; None for all, or what suits the device.
        precisions: Precisions, separated by commas; None for float32, or what suits the device.
        recipes: Names or paths of recipes, which stand instead of the others.
        device: A device profile, or this machine.
        batch_sizes: Of ExecuTorch artifacts, separated by commas; None for one image.
        adaptive_graph: ONNX artifacts get an adaptive graph.

    Raises:
        BadParameter: A name is unknown, or options contradict each other.
        InputError: A file is missing or damaged.
    """
    with options.usage_errors("--recipe"):
        if recipes and (formats, precisions, device) != (None, None, None):
            raise ValueError("a recipe says format and precision: give it alone")
        plan = ExportPlan(recipes=tuple(map(read_recipe, recipes)))
    if not recipes:
        plan = _chosen(formats, precisions, device)
    if batch_sizes is not None:
        with options.usage_errors("--batch-sizes"):
            sizes = [*map(options.parse_whole, options.split_list(batch_sizes))]
            plan = plan.with_batch_sizes(sizes)
    if adaptive_graph:
        with options.usage_errors("--adaptive-graph"):
            plan = plan.with_adaptive_graph()
    return plan


def _chosen(formats: str | None, precisions: str | None, device: str | None) -> ExportPlan:
    targets = options.parse_list(formats, TARGETS, "--format", kind="format")
    wanted = options.parse_list(precisions, PRECISIONS, "--precision", kind="precision")
    if device is None:
        with options.usage_errors("--precision"):
            return ExportPlan.stock(targets or TARGETS, wanted or ("fp32",))
    with options.usage_errors("--device"):
        capabilities = Capabilities.named(device)
    with options.usage_errors("--precision"):
        return ExportPlan.for_device(capabilities, targets, wanted)
