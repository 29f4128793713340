"""What came of a federation, in one document?"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

from reefl_edge import schema
from reefl_edge.devices.host import Host, describe_host
from reefl_edge.federation.history import RoundRecord
from reefl_edge.federation.privacy import epsilon
from reefl_edge.federation.settings import FederationSettings
from reefl_edge.files import regular_file, write_text
from reefl_edge.submodel import Submodel

SCHEMA_VERSION = 1
# What a federation leaves in its output folder, beside its rounds and its state.
REPORT_NAME = "report.json"
MODEL_NAME = "model.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class FederationReport:
    """What was asked of a federation, and what happened in each of its rounds.

    Attributes:
        settings: As the run configuration has them.
        submodel: What was trained, as deep as the model.
        measured_at: When it was over.
        host: The server's machine.
        rounds: The first one first; 0 stands for before the first. One whose record went with a
            killed process is missing.
        epsilon: What the models tell of one client at most; None where nothing promises that.
        schema_version: Of this document.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    settings: dict[str, bool | int | float | str]
    submodel: Submodel
    measured_at: str
    host: Host
    rounds: tuple[RoundRecord, ...]
    epsilon: float | None = None
    schema_version: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        if not 1 <= self.schema_version <= SCHEMA_VERSION:
            raise ValueError(f"no federation's report has schema version {self.schema_version}")
        numbers = [each.server_round for each in self.rounds]
        if numbers != sorted(set(numbers)):
            raise ValueError(f"the rounds are {numbers}; need each once, in order")
        num_exits = self.submodel.num_exits
        for each in self.rounds:
            if each.evaluation is not None and len(each.evaluation.accuracy) != num_exits:
                raise ValueError(
                    f"round {each.server_round} has the accuracy of "
                    f"{len(each.evaluation.accuracy)} exits, and the model has {num_exits}"
                )


def report_of(
    settings: FederationSettings, submodel: Submodel, rounds: Sequence[RoundRecord]
) -> FederationReport:
    """Return the report of a federation that is over, on this machine."""
    privacy = settings.privacy()
    num_rounds = rounds[-1].server_round if rounds else 0
    return FederationReport(
        settings={schema.kebab(key): value for key, value in schema.to_dict(settings).items()},
        submodel=submodel,
        measured_at=datetime.now(UTC).isoformat(timespec="seconds"),
        host=describe_host(),
        rounds=tuple(rounds),
        epsilon=(
            epsilon(privacy, num_rounds=num_rounds, delta=settings.delta)
            if privacy is not None and num_rounds
            else None
        ),
    )


def write_federation_report(report: FederationReport, path: Path) -> None:
    """Write a report to a file, whole or not at all."""
    write_text(path, schema.to_json(report, indent=2) + "\n")


def read_federation_report(path: Path) -> FederationReport:
    """Read a report.

    Raises:
        InputError: The file is missing, damaged, no such report, or from a newer version.
    """
    version = schema.schema_version_of(regular_file(path))
    schema.check_not_newer(version, source=str(path), newest=SCHEMA_VERSION)
    return schema.read_json(FederationReport, path)
