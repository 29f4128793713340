"""``reefl-edge finetune``: one client's local training."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reefl_edge.cli import client_data, linking, models, options, render, resuming
from reefl_edge.cli.client_data import ClientOptions
from reefl_edge.regimes import REGIMES, Regime

if TYPE_CHECKING:
    from reefl_edge.checkpoints.description import ModelDescription
    from reefl_edge.devices.links.base import Link
    from reefl_edge.finetune.checkpoints import TrainingCheckpoints
    from reefl_edge.finetune.training import LocalTraining
    from reefl_edge.tasks.models import Model
    from reefl_edge.tasks.training import CompiledStep


# A day of training at ten thousand epochs a second; and a round that a federation never gets to.
_MAX_EPOCHS = 1_000_000
_MAX_ROUND = 1_000_000_000
_EAGER_BATCH_SIZE = 32


def finetune(
    model: options.ModelArgument,
    data: options.Data,
    output: Annotated[Path, typer.Option("--output", "-o", help="The update, .safetensors.")],
    runtime: Annotated[
        str | None,
        typer.Option(
            "--runtime",
            help="What takes the steps: onnx (a bundle's compiled step, without PyTorch), "
            "executorch (its step for XNNPACK) or eager (PyTorch).  [default: what the bundle has "
            "a step for, onnx first, else eager]",
        ),
    ] = None,
    regime: Annotated[
        str, typer.Option("--regime", help=f"Which arrays are trained: {', '.join(REGIMES)}.")
    ] = "frozen",
    max_exit: options.MaxExit = None,
    num_classes: options.NumClasses = None,
    num_exits: options.NumExits = None,
    exit_blocks: options.ExitBlocks = None,
    image_size: options.ImageSize = None,
    epochs: Annotated[
        int, typer.Option("--epochs", min=1, max=_MAX_EPOCHS, help="Passes over the data.")
    ] = 1,
    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size",
            min=1,
            max=options.MAX_BATCH_SIZE,
            help="Examples per step.  [default: what the step was compiled for; eager: 32]",
        ),
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option("--lr", help="Learning rate.  [default: ReeFL's, for the round]"),
    ] = None,
    server_round: Annotated[
        int,
        typer.Option(
            "--server-round",
            min=1,
            max=_MAX_ROUND,
            help="The federated round: sets the learning rate and the weight of distillation.",
        ),
    ] = 300,
    distill: Annotated[
        str,
        typer.Option(
            "--distill",
            help="Which exits teach which: none; forward (the deepest all others); all (every exit "
            "every other); dynamic (the best on held-out examples); dynamic-ma (the best so far).",
        ),
    ] = "dynamic-ma",
    augment: Annotated[
        str,
        typer.Option(
            "--augment", help="Vary the images at random: none, crop, or crop-flip (photographs)."
        ),
    ] = "none",
    recompute: Annotated[
        bool,
        typer.Option(
            "--recompute",
            help="The same update in less memory, for up to half as much time again.",
        ),
    ] = False,
    budget_mib: Annotated[
        float | None,
        typer.Option(
            "--budget-mib",
            help="Memory there is for a compiled step; what would take more is not loaded.",
        ),
    ] = None,
    eval_data: Annotated[
        Path | None,
        typer.Option("--eval-data", help="Held-out data to measure before and after."),
    ] = None,
    client: client_data.Client = None,
    num_clients: client_data.NumClients = None,
    alpha: client_data.Alpha = None,
    natural: client_data.Natural = False,
    eval_own: client_data.EvalOwn = False,
    eval_share: client_data.EvalShare = None,
    checkpoint: resuming.CheckpointFolder = None,
    checkpoint_every: resuming.CheckpointEvery = None,
    resume: resuming.Resume = False,
    device: Annotated[
        str,
        typer.Option(
            "--device",
            help="Where to train, by a bundle's compiled ONNX step: local, ssh:USER@HOST, "
            "adb:SERIAL or a device profile.",
        ),
    ] = "local",
    device_python: linking.DevicePython = False,
    max_step_s: Annotated[
        float | None,
        typer.Option(
            "--max-step-s",
            min=1,
            help="On a device: how long a step may take before the training is taken to hang, and "
            "is ended.  [default: 900]",
        ),
    ] = None,
    threads: options.DeviceThreads = None,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Train one client's sub-model on its own data, the best exit teaching the others.

    Example:  reefl-edge finetune model.safetensors --data mine.npz -o update.safetensors

    With --checkpoint run --resume, the same line goes on where it was stopped or killed.
    """
    from reefl_edge.data.augment import AUGMENTATIONS
    from reefl_edge.finetune.compiled import STEPPERS
    from reefl_edge.finetune.modes import DISTILL_MODES
    from reefl_edge.finetune.rounds import check_rate
    from reefl_edge.finetune.training import LocalTraining
    from reefl_edge.jobs.running import MAX_STEP_S
    from reefl_edge.tasks.training import compiled_step

    options.check_output(output, model, data, eval_data)
    checkpoints = resuming.checkpoints_of(checkpoint, checkpoint_every, is_resumed=resume)
    if lr is not None:
        with options.usage_errors("--lr"):
            check_rate(lr)
    parsed_regime = options.parse_option(regime, REGIMES, "--regime", kind="regime")
    with options.usage_errors("--runtime"):
        compiled = compiled_step(
            model,
            options.parse_optional(runtime, STEPPERS, "--runtime", kind="runtime"),
            parsed_regime,
        )
    if compiled is not None and recompute:
        options.refuse("--recompute", "for eager; a compiled step has it from the export")
    _check_memory(budget_mib, compiled)
    training = LocalTraining(
        epochs=epochs,
        batch_size=_batch_size(batch_size, compiled),
        learning_rate=lr,
        server_round=server_round,
        distill=options.parse_option(distill, DISTILL_MODES, "--distill", kind="mode"),
        augmentation=options.parse_option(augment, AUGMENTATIONS, "--augment", kind="augmentation"),
        seed=seed,
        recompute=recompute,
    )
    part = ClientOptions(
        index=client,
        num_clients=num_clients,
        alpha=alpha,
        is_natural=natural,
        is_eval_own=eval_own,
        eval_share=eval_share,
    )
    part.check(eval_data)
    linking.check_device_python(device, is_wanted=device_python)
    link = _link(device, compiled, checkpoints, device_python=device_python)
    if link is not None and threads is not None:
        with options.usage_errors("--threads"):
            link.describe().threads(threads)
    if link is None:
        options.fitting_threads(threads)
        if max_step_s is not None:
            options.refuse("--max-step-s", "for a device; what hangs here is seen, and interrupted")
    description = options.model_description(
        num_classes=num_classes,
        num_exits=num_exits,
        exit_blocks=exit_blocks,
        image_size=image_size,
    )
    source = _opened(model, description, parsed_regime, compiled, max_exit=max_exit, seed=seed)
    document = _train(
        source,
        compiled,
        parsed_regime,
        training,
        data=data,
        eval_data=eval_data,
        output=output,
        part=part,
        checkpoints=checkpoints,
        link=link,
        threads=threads,
        max_step_s=max_step_s or MAX_STEP_S,
    )
    if json:
        render.print_json(document)
    else:
        _show(document)
    if compiled is not None and compiled.is_applicable:
        render.next_command("reefl-edge", "apply", model, output, "-o", "new-bundle")
    elif compiled is not None and not compiled.holds_weights:  # only what it was made from does
        render.next_command("reefl-edge", "export", "MODEL", "--update", output, "-o", "bundle")
    else:
        render.next_command(
            *("reefl-edge", "export", *models.said_again(model, description, source)),
            *("--update", output, "-o", "bundle"),
        )


def _opened(
    text: str,
    description: "ModelDescription",
    regime: Regime,
    compiled: "CompiledStep | None",
    *,
    max_exit: int | None,
    seed: int,
) -> "Model":
    """Open the model to train, cut at an exit; a compiled step is of one depth.

    Raises:
        BadParameter: There is no such exit, the model has adapters of another regime, or nothing of
            it is trained.
    """
    if compiled is None:
        source = models.cut(models.opened(text, description, seed=seed), max_exit)
        models.check_regime(regime, source)
    else:
        source = compiled.model()
        with options.usage_errors("MODEL"):
            description.apply(source.checkpoint.submodel, source=text)
        if description.image_size not in (None, source.image_size):
            options.refuse("--image-size", f"the step was compiled for {source.image_size} pixels")
        if max_exit not in (None, source.checkpoint.submodel.max_exit):
            deepest = source.checkpoint.submodel.max_exit
            options.refuse("--max-exit", f"the step was compiled for exits 0 to {deepest}")
        # The step reads its arrays itself: kept here, they would be in memory twice.
        source = replace(source, checkpoint=replace(source.checkpoint, arrays={}))
    if source.checkpoint.random == "everything":
        options.refuse(
            "MODEL",
            f"{text} has random weights throughout; give a trained model, or a backbone at least",
        )
    return source


def _link(
    device: str,
    compiled: "CompiledStep | None",
    checkpoints: "TrainingCheckpoints | None",
    *,
    device_python: bool,
) -> "Link | None":
    """Return the link to where training is to happen; None for this process.

    Raises:
        BadParameter: What is asked for happens in this process only.
        DeviceError: The device is not connected.
    """
    from reefl_edge.devices.profiles import LOCAL_DEVICE

    if device == LOCAL_DEVICE:
        return None
    if compiled is None or compiled.stepper != "onnx":
        options.refuse(
            "--device",
            "a device trains by a bundle's compiled ONNX step; "
            "make one with 'reefl-edge export MODEL --training REGIME --format onnx'",
        )
    if checkpoints is not None:
        options.refuse("--checkpoint", "training on a device is not kept step by step")
    return linking.link_to(device, device_python=device_python)


def _check_memory(budget_mib: float | None, compiled: "CompiledStep | None") -> None:
    """Refuse a compiled step that would take more memory than there is."""
    if budget_mib is None:
        return
    if compiled is None:
        options.refuse("--budget-mib", "only for a compiled step; nothing is predicted of eager")
    with options.usage_errors("--budget-mib"):
        compiled.check_memory(budget_mib)


def _batch_size(batch_size: int | None, compiled: "CompiledStep | None") -> int:
    """Return the size that was asked for, or that of the compiled step, or eager's."""
    if compiled is None:
        return batch_size or _EAGER_BATCH_SIZE
    if batch_size is not None:
        with options.usage_errors("--batch-size"):
            compiled.check_batch_size(batch_size)
    return batch_size or compiled.step.batch_size


def _train(
    source: "Model",
    compiled: "CompiledStep | None",
    regime: Regime,
    training: "LocalTraining",
    *,
    data: Path,
    eval_data: Path | None,
    output: Path,
    part: ClientOptions,
    checkpoints: "TrainingCheckpoints | None",
    link: "Link | None",
    threads: int | None,
    max_step_s: float,
) -> dict[str, Any]:
    """Train, write the update, and return what there is to say of it."""
    from reefl_edge.checkpoints.update import write_update
    from reefl_edge.cli.training_progress import steps_on
    from reefl_edge.finetune.client import train_client
    from reefl_edge.jobs.device_training import train_client_on
    from reefl_edge.runtimes.base import default_threads
    from reefl_edge.tasks.accuracy import accuracy_before_and_after, check_measurable
    from reefl_edge.tasks.examples import read_examples

    threads_here = threads or default_threads() if link is None else default_threads()
    examples = read_examples(data, source)
    held_out = None if eval_data is None else read_examples(eval_data, source, like=examples)
    examples, held_out = client_data.choose(part, examples, held_out)
    if held_out is not None:
        check_measurable(compiled)
    with (
        resuming.resumable(checkpoints),
        options.input_errors(),
        render.progress_bar("fine-tune") as bar,
    ):
        if link is not None and compiled is not None:
            bar.say(f"train on {link.name}")
            result = train_client_on(
                link,
                compiled.bundle,
                regime,
                examples,
                training,
                threads=threads,
                max_step_s=max_step_s,
                on_progress=bar.step,
            )
        else:
            result = train_client(
                source.checkpoint if compiled is None else compiled.bundle,
                regime,
                examples,
                training,
                stepper="eager" if compiled is None else compiled.stepper,
                threads=threads_here,
                checkpoints=checkpoints,
                on_step=steps_on(bar, training.distill),
            )
    write_update(result.update, output)
    document: dict[str, Any] = {
        "update": str(output),
        "runtime": "eager" if compiled is None else compiled.stepper,
        "device": "local" if link is None else link.name,
        "size_bytes": output.stat().st_size,
        "num_steps": result.history.num_steps,
        "num_examples": result.history.num_examples,
        "distill": training.distill,
        "client": part.index,
        "losses": list(result.history.losses),
        "teacher_counts": list(result.history.teacher_counts),
        "resumed_at": result.history.resumed_at,
    }
    if held_out is not None:
        before, after = accuracy_before_and_after(result, held_out, compiled, threads=threads_here)
        document |= {"accuracy_before": before.tolist(), "accuracy_after": after.tolist()}
    return document


def _show(document: dict[str, Any]) -> None:
    columns = ["exit", "taught"]
    rows = [[str(index), str(count)] for index, count in enumerate(document["teacher_counts"])]
    for key, title in (("accuracy_before", "before %"), ("accuracy_after", "after %")):
        if key in document:
            columns.append(title)
            for row, share in zip(rows, document[key], strict=True):
                row.append(f"{100 * share:.1f}")
    first, last = document["losses"][0], document["losses"][-1]
    title = (
        f"{document['num_steps']} steps on {document['num_examples']} examples, "
        f"loss {first:.3f} to {last:.3f}"
    )
    render.out().print(render.table(title, columns, rows))
    render.out().print(f"saved {document['update']} ({render.size(document['size_bytes'])})")
