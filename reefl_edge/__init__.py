"""ReeFL on real devices: profile, fine-tune, export and run networks with recurrent early exits.

Importing this package loads no torch; names are loaded when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for type checkers and editors: the names of ``_HOMES``
    from reefl_edge.adaptive import AdaptiveSession as AdaptiveSession
    from reefl_edge.adaptive import ConfidencePolicy as ConfidencePolicy
    from reefl_edge.bundles.bundle import Bundle as Bundle
    from reefl_edge.bundles.thresholds import Promise as Promise
    from reefl_edge.checkpoints.checkpoint import write_checkpoint as write_checkpoint
    from reefl_edge.checkpoints.description import ModelDescription as ModelDescription
    from reefl_edge.checkpoints.update import read_update as read_update
    from reefl_edge.checkpoints.update import write_update as write_update
    from reefl_edge.data.clients.part import Sharing as Sharing
    from reefl_edge.data.images import read_image as read_image
    from reefl_edge.data.reading import read_dataset as read_dataset
    from reefl_edge.federation.settings import FederationSettings as FederationSettings
    from reefl_edge.finetune.checkpoints import TrainingCheckpoints as TrainingCheckpoints
    from reefl_edge.finetune.client import train_client as train_client
    from reefl_edge.finetune.training import LocalTraining as LocalTraining
    from reefl_edge.models import build_model as build_model
    from reefl_edge.models import load_checkpoint as load_checkpoint
    from reefl_edge.models import save_checkpoint as save_checkpoint
    from reefl_edge.profiling.assignment import assign_exits as assign_exits
    from reefl_edge.profiling.assignment import read_assignment as read_assignment
    from reefl_edge.profiling.assignment import write_assignment as write_assignment
    from reefl_edge.profiling.budget import Budget as Budget
    from reefl_edge.profiling.budget import RoundBudget as RoundBudget
    from reefl_edge.profiling.choose import choose_exit as choose_exit
    from reefl_edge.profiling.report import read_report as read_report
    from reefl_edge.profiling.report import write_report as write_report
    from reefl_edge.submodel import Submodel as Submodel
    from reefl_edge.tasks.applying import UpdateRequest as UpdateRequest
    from reefl_edge.tasks.applying import update_bundle as update_bundle
    from reefl_edge.tasks.calibrating import CalibrationRequest as CalibrationRequest
    from reefl_edge.tasks.calibrating import calibrate_bundle as calibrate_bundle
    from reefl_edge.tasks.estimating import estimate_model as estimate_model
    from reefl_edge.tasks.examples import read_examples as read_examples
    from reefl_edge.tasks.exporting import ExportRequest as ExportRequest
    from reefl_edge.tasks.exporting import export_model as export_model
    from reefl_edge.tasks.federating import deploy_federation as deploy_federation
    from reefl_edge.tasks.federating import init_federation as init_federation
    from reefl_edge.tasks.federating import join_federation as join_federation
    from reefl_edge.tasks.federating import run_federation as run_federation
    from reefl_edge.tasks.inference import classify as classify
    from reefl_edge.tasks.models import Model as Model
    from reefl_edge.tasks.models import open_model as open_model
    from reefl_edge.tasks.parity import ParityRequest as ParityRequest
    from reefl_edge.tasks.parity import recheck_bundle as recheck_bundle
    from reefl_edge.tasks.profiling import ProfileRequest as ProfileRequest
    from reefl_edge.tasks.profiling import profile_model as profile_model
    from reefl_edge.thresholds.calibrate import CalibrationPlan as CalibrationPlan
    from reefl_export.plan import ExportPlan as ExportPlan
    from reefl_export.verification import verify as verify

_HOMES = {
    "AdaptiveSession": "reefl_edge.adaptive",
    "Budget": "reefl_edge.profiling.budget",
    "Bundle": "reefl_edge.bundles.bundle",
    "CalibrationPlan": "reefl_edge.thresholds.calibrate",
    "CalibrationRequest": "reefl_edge.tasks.calibrating",
    "ConfidencePolicy": "reefl_edge.adaptive",
    "ExportPlan": "reefl_export.plan",
    "ExportRequest": "reefl_edge.tasks.exporting",
    "FederationSettings": "reefl_edge.federation.settings",
    "LocalTraining": "reefl_edge.finetune.training",
    "Model": "reefl_edge.tasks.models",
    "ModelDescription": "reefl_edge.checkpoints.description",
    "ParityRequest": "reefl_edge.tasks.parity",
    "ProfileRequest": "reefl_edge.tasks.profiling",
    "Promise": "reefl_edge.bundles.thresholds",
    "RoundBudget": "reefl_edge.profiling.budget",
    "Sharing": "reefl_edge.data.clients.part",
    "Submodel": "reefl_edge.submodel",
    "TrainingCheckpoints": "reefl_edge.finetune.checkpoints",
    "UpdateRequest": "reefl_edge.tasks.applying",
    "assign_exits": "reefl_edge.profiling.assignment",
    "build_model": "reefl_edge.models",
    "classify": "reefl_edge.tasks.inference",
    "calibrate_bundle": "reefl_edge.tasks.calibrating",
    "choose_exit": "reefl_edge.profiling.choose",
    "deploy_federation": "reefl_edge.tasks.federating",
    "estimate_model": "reefl_edge.tasks.estimating",
    "export_model": "reefl_edge.tasks.exporting",
    "init_federation": "reefl_edge.tasks.federating",
    "join_federation": "reefl_edge.tasks.federating",
    "load_checkpoint": "reefl_edge.models",
    "open_model": "reefl_edge.tasks.models",
    "profile_model": "reefl_edge.tasks.profiling",
    "read_assignment": "reefl_edge.profiling.assignment",
    "read_dataset": "reefl_edge.data.reading",
    "read_examples": "reefl_edge.tasks.examples",
    "read_image": "reefl_edge.data.images",
    "read_report": "reefl_edge.profiling.report",
    "read_update": "reefl_edge.checkpoints.update",
    "recheck_bundle": "reefl_edge.tasks.parity",
    "run_federation": "reefl_edge.tasks.federating",
    "save_checkpoint": "reefl_edge.models",
    "train_client": "reefl_edge.finetune.client",
    "update_bundle": "reefl_edge.tasks.applying",
    "verify": "reefl_export.verification",
    "write_assignment": "reefl_edge.profiling.assignment",
    "write_checkpoint": "reefl_edge.checkpoints.checkpoint",
    "write_report": "reefl_edge.profiling.report",
    "write_update": "reefl_edge.checkpoints.update",
}

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    """Import a public name from where it lives."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
