"""How does onnxruntime run a bundle: one session per segment?

All sessions share one thread pool, which onnxruntime creates once per process, and one arena of
memory: sessions with pools of their own compete for the cores, and with arenas of their own they
keep what only one of them needs at a time.
"""

import os
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Self

# Since 1.32 it writes into the user's home when imported, unless told not to before; the user may.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state

from reefl_edge.bundles.artifacts import Artifact, BundleFile
from reefl_edge.bundles.bundle import Bundle
from reefl_edge.errors import InputError
from reefl_edge.runtimes.base import Tensors, translated
from reefl_edge.runtimes.onnx_graph import hold_graph
from reefl_edge.submodel import Segment, TensorSpec

# onnxruntime's own errors, which share no base class.
_ERRORS = tuple(
    kind
    for kind in vars(onnxruntime_pybind11_state).values()
    if isinstance(kind, type) and issubclass(kind, Exception)
)

translated_errors = partial(translated, f"onnxruntime {onnxruntime.__version__}", errors=_ERRORS)

# The pool cannot be resized once a session has used it.
_pool_threads: int | None = None


class OnnxRuntime:
    """Segments as onnxruntime sessions on one shared thread pool."""

    def __init__(self, sessions: list[onnxruntime.InferenceSession]) -> None:
        self._sessions = sessions
        self._input_names = [[put.name for put in session.get_inputs()] for session in sessions]

    @classmethod
    def open(
        cls,
        bundle: Bundle,
        artifact: Artifact,
        segments: tuple[Segment, ...],
        *,
        threads: int,
        packs_weights: bool = True,
    ) -> Self:
        """Load the segments of an ONNX artifact of a bundle.

        Graphs are hashed first. Weights are hashed while they are loaded: none of their bytes can
        do more than be wrong, and the sessions are given out when the hash holds.

        Args:
            bundle: The bundle.
            artifact: The artifact.
            segments: Those to load.
            threads: Threads to compute with.
            packs_weights: As for ``open_session``.

        Raises:
            InputError: A file is missing or changed, onnxruntime refuses it, or the manifest says
                otherwise than it does, or does not list a file that it reads.
            ValueError: This process has a pool of another number of threads.
        """
        paths = [bundle.file(artifact, f"{segment.name}.onnx") for segment in segments]
        weights = {file for path in paths for file in hold_graph(bundle, artifact, path)}
        _share_pool(threads)
        with _verifying(weights, bundle.directory):
            sessions = [_session(path, packs_weights=packs_weights) for path in paths]
        for session, segment, path in zip(sessions, segments, paths, strict=True):
            _hold_signature(session, segment, path)
        return cls(sessions)

    def run(self, exit_index: int, inputs: Tensors) -> Tensors:
        """Run one segment; see ``Runtime.run``."""
        feed = dict(zip(self._input_names[exit_index], inputs, strict=True))
        with translated_errors(f"run segment_{exit_index}"):
            return tuple(self._sessions[exit_index].run(None, feed))


@contextmanager
def _verifying(files: Collection[BundleFile], folder: Path) -> Iterator[None]:
    """Hash files beside the block, which reads them.

    Raises:
        InputError: A file is missing or changed, whatever became of the block.
    """
    for file in files:
        file.located(folder)
    with ThreadPoolExecutor(1, thread_name_prefix="hashing") as pool:
        verified = [pool.submit(file.verified, folder) for file in files]
        try:
            yield
        finally:
            for each in verified:
                each.result()


def _hold_signature(session: onnxruntime.InferenceSession, segment: Segment, path: Path) -> None:
    found = [(put.name, put.shape[1:]) for put in (*session.get_inputs(), *session.get_outputs())]
    if found != [_name_and_shape(spec) for spec in (*segment.inputs, *segment.outputs)]:
        raise InputError(f"{path} is not the graph of {segment.name}; export the bundle again")


def _name_and_shape(spec: TensorSpec) -> tuple[str, list[object]]:
    return spec.name, list(spec.shape[1:])


def open_session(
    model: Path | bytes, *, threads: int, packs_weights: bool = True, reuses_memory: bool = True
) -> onnxruntime.InferenceSession:
    """Load a graph, from a file or as it would stand in one, onto this process's thread pool.

    Args:
        model: The graph.
        threads: Threads to compute with.
        packs_weights: Keep every weight in the order in which a product reads it, which is quicker
            and takes as much memory again; a step that reads a weight in two orders keeps two.
        reuses_memory: Keep what was freed for the next array of the same shape: a step, whose
            arrays live long and differ in shape, pays every shape's own peak for it.

    Raises:
        InputError: onnxruntime refuses it.
        ValueError: This process has a pool of another number of threads.
    """
    _share_pool(threads)
    return _session(model, packs_weights=packs_weights, reuses_memory=reuses_memory)


def _session(
    model: Path | bytes, *, packs_weights: bool = True, reuses_memory: bool = True
) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    if not packs_weights:
        options.add_session_config_entry("session.disable_prepacking", "1")
    options.use_per_session_threads = False
    options.add_session_config_entry("session.use_env_allocators", "1")
    options.enable_mem_pattern = False  # it allocates a block for each session's whole run
    options.enable_mem_reuse = reuses_memory
    options.log_severity_level = 3  # errors; they are raised as well
    with translated_errors("load the graph" if isinstance(model, bytes) else f"load {model}"):
        return onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"], enable_fallback=False
        )


def _share_pool(threads: int) -> None:
    global _pool_threads
    if _pool_threads is None:
        onnxruntime.set_global_thread_pool_sizes(threads, 1)
        _share_arena()
        _pool_threads = threads
    elif _pool_threads != threads:
        raise ValueError(
            f"onnxruntime's thread pool has {_pool_threads} threads in this process and cannot be "
            f"given {threads}; use another process"
        )


def _share_arena() -> None:
    memory = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    default = -1
    configuration = onnxruntime.OrtArenaCfg(0, default, default, default)
    onnxruntime.create_and_register_allocator(memory, configuration)
