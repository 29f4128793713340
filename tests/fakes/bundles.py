"""Manifests of bundles whose files need not exist."""

from reefl_edge.bundles.artifacts import Artifact, BundleFile, Target
from reefl_edge.bundles.manifest import Manifest, signatures
from reefl_edge.bundles.thresholds import same_threshold
from tests.fakes.submodels import tiny_submodel


def listed_file(path: str = "onnx/segment_0.onnx") -> BundleFile:
    """Return an entry of a manifest for a file that need not exist."""
    return BundleFile(path=path, size_bytes=1, sha256="0" * 64)


def listed_artifact(target: Target, *paths: str) -> Artifact:
    """Return a manifest's entry for a float32 artifact whose files need not exist."""
    return Artifact(
        target=target,
        delegate="xnnpack" if target == "executorch" else None,
        precision="fp32",
        batch_sizes=() if target == "onnx" else (1,),
        toolchain={},
        files=tuple(map(listed_file, paths or ("model",))),
    )


def tiny_manifest(*artifacts: Artifact) -> Manifest:
    """Return a manifest of ``tiny_submodel`` with three classes."""
    submodel = tiny_submodel()
    return Manifest(
        name="tiny",
        created_at="2026-01-31T12:00:00+00:00",
        submodel=submodel,
        weights_sha256="0" * 64,
        has_random_weights=False,
        class_names=("a", "b", "c"),
        segments=signatures(submodel),
        artifacts=artifacts,
        thresholds=same_threshold(artifacts, 0.8),
    )
