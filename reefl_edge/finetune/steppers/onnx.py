"""How does onnxruntime take the steps: a compiled one, in place?

The graph takes the trained arrays and gives what they become. Both are bound to the same memory,
which is there for the whole training: no array is written before all that reads it has done so, for
so the graph was put together (``reefl_export/onnx/step/in_place.py``), and nothing is copied.
"""

from typing import Self

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from reefl_edge.array_files.safetensors import Arrays
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.bundles.start import read_trained
from reefl_edge.bundles.training import TrainingStep
from reefl_edge.data.dataset import Images, Labels
from reefl_edge.errors import InputError
from reefl_edge.finetune.steppers.base import Losses, StepMetrics, check_trained
from reefl_edge.finetune.steppers.batch import step_inputs
from reefl_edge.runtimes.onnx import open_session, translated_errors
from reefl_edge.runtimes.onnx_graph import hold_step, step_graph
from reefl_edge.submodel import Submodel, TensorSpec

_NEXT = "next_"
# What onnxruntime calls the types.
_TYPES = {
    "uint8": "tensor(uint8)",
    "float32": "tensor(float)",
    "int64": "tensor(int64)",
    "bool": "tensor(bool)",
}


class OnnxStepper:
    """Steps of a compiled graph.

    Args:
        session: The graph, loaded.
        submodel: What it trains.
        batch_size: Images that it takes at once; a smaller batch is filled up and masked.
        arrays: The trained arrays that it starts from, by name.

    Raises:
        ValueError: ``arrays`` are not those that the regime trains.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        submodel: Submodel,
        *,
        batch_size: int,
        arrays: Arrays,
    ) -> None:
        check_trained(arrays, submodel)
        self.running_losses: Losses = np.zeros(submodel.num_exits, np.float32)
        self.submodel = submodel
        self.batch_size = batch_size
        self._session = session
        signature = submodel.step_signature()
        # What nothing reads is no input: with one exit, nobody teaches.
        self._inputs = {each.name for each in session.get_inputs()}
        self._found = {
            spec.name: np.empty(_shape(spec, batch_size), spec.dtype)
            for spec in signature.outputs
            if spec.name.removeprefix(_NEXT) not in arrays
        }
        # In C's order, in which they are bound; numpy would keep another.
        self._arrays = {
            name: np.array(array, np.float32, order="C") for name, array in arrays.items()
        }
        self._learning = self._bound(learns=True)

    def _bound(self, *, learns: bool) -> onnxruntime.IOBinding:
        """Bind the arrays to be read, what is found to be written, and if asked the arrays, too.

        Memory is bound, not the arrays: they must live as long as the binding.
        """
        binding = self._session.io_binding()
        for name in self._inputs & self._arrays.keys():
            array = self._arrays[name]
            binding.bind_input(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        for name, array in self._found.items():
            binding.bind_output(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        for name, array in self._arrays.items():
            if learns:
                data = array.ctypes.data
                binding.bind_output(f"{_NEXT}{name}", "cpu", 0, array.dtype, array.shape, data)
            else:  # what they would become goes where onnxruntime likes
                binding.bind_output(f"{_NEXT}{name}")
        return binding

    @classmethod
    def open(
        cls, bundle: Bundle, step: TrainingStep, *, threads: int, arrays: Arrays | None = None
    ) -> Self:
        """Load a training step of a bundle.

        Args:
            bundle: The bundle.
            step: What its manifest says of the step.
            threads: Threads to compute with; onnxruntime has one pool in a process.
            arrays: Trained arrays to start from; None for the step's own.

        Raises:
            InputError: The step was not compiled to ONNX, a file is missing or changed, onnxruntime
                refuses it, or the manifest says otherwise than it does.
            ValueError: ``arrays`` are not those that the regime trains, or this process has a pool
                of another number of threads.
        """
        artifact, path = step_graph(bundle, step)
        for file in hold_step(bundle, step, artifact, path):
            file.verified(bundle.directory)
        session = open_session(path, threads=threads, packs_weights=False, reuses_memory=False)
        if not _fits(session, step):
            raise InputError(
                f"{path} is not the graph of {step.submodel.regime} training; export the bundle "
                "again"
            )
        start = read_trained(bundle, step) if arrays is None else arrays
        return cls(session, step.submodel, batch_size=step.batch_size, arrays=start)

    def step(
        self,
        images: Images,
        labels: Labels,
        *,
        learning_rate: float,
        distill_weight: float,
        teaches: NDArray[np.float32] | None,
    ) -> StepMetrics:
        """Train on one batch; see ``Stepper.step``.

        Raises:
            ValueError: As for ``step_inputs``.
        """
        self._run(self._learning, images, labels, learning_rate, distill_weight, teaches)
        self.running_losses = self._found["next_running_losses"].copy()
        return StepMetrics(
            loss=float(self._found["loss"]),
            exit_losses=self._found["exit_losses"].copy(),
            teacher_index=int(self._found["teacher_index"]),
        )

    def exit_losses(self, images: Images, labels: Labels) -> Losses:
        """Return the mean cross-entropy of each exit, (E,): a step whose arrays are not kept."""
        self._run(self._bound(learns=False), images, labels, 0.0, 0.0, None)
        return self._found["exit_losses"].copy()

    def arrays(self) -> Arrays:
        """Return a copy of the trained arrays, by name."""
        return {name: array.copy() for name, array in self._arrays.items()}

    def load(self, arrays: Arrays) -> None:
        """Go on from other trained arrays; see ``Stepper.load``."""
        check_trained(arrays, self.submodel)
        for name, array in arrays.items():
            np.copyto(self._arrays[name], array)

    def _run(
        self,
        binding: onnxruntime.IOBinding,
        images: Images,
        labels: Labels,
        learning_rate: float,
        distill_weight: float,
        teaches: NDArray[np.float32] | None,
    ) -> None:
        """Compute what the arrays become, and what else is found; the batch is filled up."""
        given = step_inputs(
            self.submodel,
            self.batch_size,
            images,
            labels,
            self.running_losses,
            learning_rate=learning_rate,
            distill_weight=distill_weight,
            teaches=teaches,
        )
        for name in self._inputs & given.keys():
            binding.bind_cpu_input(name, given[name])
        with translated_errors("run a training step"):
            self._session.run_with_iobinding(binding)


def _fits(session: onnxruntime.InferenceSession, step: TrainingStep) -> bool:
    """Tell whether a graph has the inputs, as far as it reads them, and outputs of a step."""
    expected = [_described(spec, step.batch_size) for spec in step.signature.inputs]
    inputs, outputs = (
        [(put.name, list(put.shape), put.type) for put in puts]
        for puts in (session.get_inputs(), session.get_outputs())
    )
    return all(put in expected for put in inputs) and outputs == [
        _described(spec, step.batch_size) for spec in step.signature.outputs
    ]


def _described(spec: TensorSpec, batch_size: int) -> tuple[str, list[int], str]:
    return spec.name, list(_shape(spec, batch_size)), _TYPES[spec.dtype]


def _shape(spec: TensorSpec, batch_size: int) -> tuple[int, ...]:
    return tuple(batch_size if size == "batch" else size for size in spec.shape)
