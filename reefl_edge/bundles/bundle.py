"""How is a bundle opened, and is it what was exported?

A *bundle* is a folder: ``manifest.json`` and the artifacts of one sub-model, one per target and
precision. The bare install opens bundles. What the artifacts say themselves is read in
``facts.py``.
"""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Self

from reefl_edge.bundles.artifacts import Artifact, BundleFile, Precision, Target, artifact_name
from reefl_edge.bundles.manifest import MANIFEST_NAME, PARITY_NAME, Manifest, read_manifest
from reefl_edge.bundles.training import TrainingStep
from reefl_edge.errors import InputError


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle's folder and what its manifest says."""

    directory: Path
    manifest: Manifest

    @classmethod
    def open(cls, directory: str | Path) -> Self:
        """Open a bundle; its artifacts are verified when they are asked for.

        Raises:
            InputError: The folder is no bundle, or its manifest is damaged or of another version.
        """
        directory = Path(directory)
        path = directory / MANIFEST_NAME
        if not path.is_file():
            raise InputError(f"{directory} is not a bundle: it has no {MANIFEST_NAME}")
        manifest = read_manifest(path)
        if not manifest.artifacts:
            raise InputError(f"{path} lists no artifacts; export the bundle again")
        return cls(directory, manifest)

    def artifact(self, target: Target, precision: Precision | None = None) -> Artifact:
        """Return the artifact of ``target``, in a precision or the first there is.

        Raises:
            InputError: The bundle has none.
        """
        for artifact in self.manifest.artifacts:
            if artifact.target == target and precision in (None, artifact.precision):
                return artifact
        wanted = target if precision is None else artifact_name(target, precision)
        have = [each.name for each in self.manifest.artifacts]
        raise InputError(
            f"{self.directory} has no {wanted} artifact, only {', '.join(have)}; "
            f"export it again with --format {target} --precision {precision or 'fp32'} too"
        )

    def file(self, artifact: Artifact, name: str) -> Path:
        """Return where a file of an artifact lies, held to its size and its hash.

        Args:
            artifact: The artifact.
            name: What is going to be read, without folders.

        Raises:
            InputError: As for ``listed``, or it is missing or changed, or leads out of the bundle.
        """
        return self.listed(artifact, name).verified(self.directory)

    def listed(self, artifact: Artifact, name: str) -> BundleFile:
        """Return what the manifest says of a file of an artifact.

        Args:
            artifact: The artifact.
            name: The file's, without folders.

        Raises:
            InputError: The manifest does not list it, or lists several of that name.
        """
        found = [file for file in artifact.files if PurePosixPath(file.path).name == name]
        if len(found) != 1:
            raise InputError(
                f"{self.directory / MANIFEST_NAME} lists {len(found) or 'no'} {name} for "
                f"{artifact.name}, which reads one; export the bundle again"
            )
        return found[0]

    def step_file(self, step: TrainingStep, target: Target, suffix: str) -> BundleFile:
        """Return what the manifest says of the file that computes a training step in a format.

        Raises:
            InputError: The step was not compiled to it, or lists several such files.
        """
        artifact = step.artifact(target)
        listed = () if artifact is None else artifact.files
        found = [file for file in listed if file.path.endswith(suffix)]
        if len(found) != 1:
            raise InputError(
                f"{self.directory / MANIFEST_NAME} lists {len(found) or 'no'} {suffix} for "
                f"{step.submodel.regime} training in {target}, which takes one; export the bundle "
                "again"
            )
        return found[0]

    def foreign_files(self) -> tuple[str, ...]:
        """Return the files in the folder that are not the bundle's own, by their path in it."""
        own = {file.path for file in self.manifest.files()} | {MANIFEST_NAME, PARITY_NAME}
        found = {
            path.relative_to(self.directory).as_posix()
            for path in self.directory.rglob("*")
            if path.is_symlink() or not path.is_dir()
        }
        return tuple(sorted(found - own))
