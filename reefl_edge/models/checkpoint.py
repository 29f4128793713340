"""How does a file, whoever wrote it, become a network, and a network a file of ours?"""

from pathlib import Path

from reefl_edge.checkpoints.checkpoint import Checkpoint, write_checkpoint
from reefl_edge.checkpoints.description import ModelDescription
from reefl_edge.checkpoints.metadata import RandomPart
from reefl_edge.checkpoints.reading import Reading, read_model_file
from reefl_edge.models.arrays import arrays_of, network_from, random_network
from reefl_edge.models.reefl import ReeFL
from reefl_edge.submodel import Regime


def load_checkpoint(
    path: str | Path,
    *,
    num_classes: int | None = None,
    num_exits: int | None = None,
    exit_blocks: tuple[int, ...] | None = None,
    max_exit: int | None = None,
    regime: Regime | None = None,
    image_size: int | None = None,
    num_heads: int | None = None,
    mean: tuple[float, float, float] | None = None,
    std: tuple[float, float, float] | None = None,
    seed: int = 0,
) -> ReeFL:
    """Build the network that a checkpoint, a foreign file, a folder or a hub id holds.

    A checkpoint of ours says everything; an argument that contradicts it is an error. A state dict
    of the released ReeFL code needs ``num_exits`` or ``exit_blocks``, and ``regime`` where it has
    bottleneck adapters. A backbone (DeiT, timm, transformers) needs ``num_classes``; its
    accumulator and classifier start at random.

    Args:
        path: A .safetensors, .npz, .pth, .pt or .bin file, a folder, or a hub id ``owner/name``.
        num_classes: Classes, C.
        num_exits: Exits of the whole network, evenly spaced; 4 for a backbone.
        exit_blocks: The block each exit of the whole network reads, instead of ``num_exits``.
        max_exit: The deepest exit to keep, 0-based.
        regime: Which arrays are trained.
        image_size: Edge of the square image in pixels; the position embedding is interpolated.
        num_heads: Attention heads of a block, where they are not 64 wide.
        mean: Mean of each channel, of pixels scaled to [0, 1]; ImageNet's where nothing says.
        std: Standard deviation of each channel, likewise.
        seed: Of what starts at random.

    Raises:
        InputError: The file is missing, damaged or foreign; every problem is listed, and no
            network is half filled.
        ValueError: The arguments say too little, or something else than the file.
        MissingToolchainError: It takes a package that is not installed.
    """
    description = ModelDescription(
        num_classes=num_classes,
        num_exits=num_exits,
        exit_blocks=exit_blocks,
        max_exit=max_exit,
        regime=regime,
        image_size=image_size,
        num_heads=num_heads,
        mean=mean,
        std=std,
    )
    checkpoint = complete(read_model_file(path, description), seed=seed)
    return network_from(checkpoint.submodel, checkpoint.arrays)


def complete(reading: Reading, *, seed: int) -> Checkpoint:
    """Initialise what a file did not hold, the same for the same seed."""
    fresh = arrays_of(random_network(reading.submodel, seed=seed)) if reading.fresh else {}
    return reading.completed(fresh)


def save_checkpoint(
    model: ReeFL,
    path: str | Path,
    *,
    class_names: tuple[str, ...] | None = None,
    random: RandomPart = "nothing",
) -> None:
    """Write all arrays of a network, whole or not at all.

    Args:
        model: The network.
        path: The .safetensors file.
        class_names: One name per class, to travel with the weights.
        random: What of the network is random, so that nobody takes it for trained.

    Raises:
        DivergenceError: An array holds NaN or an infinity.
    """
    write_checkpoint(
        Checkpoint(
            submodel=model.submodel,
            arrays=arrays_of(model),
            class_names=class_names,
            random=random,
        ),
        Path(path),
    )
