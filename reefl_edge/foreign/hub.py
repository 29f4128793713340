"""How does a model come from the Hugging Face hub, or not?

The one place that knows huggingface_hub: its errors stop here.
"""

from pathlib import Path

from reefl_edge.errors import InputError, MissingToolchainError
from reefl_edge.foreign.files import WEIGHTS_NAMES

_CONFIG_NAMES = ("config.json", "preprocessor_config.json")


def download(repo_id: str) -> Path:
    """Fetch weights and configuration of a model, and return their folder in the hub's cache.

    Raises:
        InputError: The hub is out of reach, or has no such model with weights we can read.
        MissingToolchainError: huggingface_hub is not installed.
    """
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import (
            EntryNotFoundError,
            HfHubHTTPError,
            HFValidationError,
            LocalEntryNotFoundError,
            OfflineModeIsEnabled,
            RepositoryNotFoundError,
        )
    except ImportError as error:
        raise MissingToolchainError.for_extra(
            f"{repo_id} is no file or folder here; as a hub id it", "huggingface_hub", "hub"
        ) from error

    def fetched(name: str) -> Path | None:
        try:
            return Path(hf_hub_download(repo_id, name))
        except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
            raise InputError(
                f"{repo_id} is no file or folder here, and the hub is out of reach (offline): "
                "give a local file or folder"
            ) from error
        except EntryNotFoundError:
            return None
        except RepositoryNotFoundError as error:  # also private and gated ones
            raise InputError(f"{repo_id}: no file here, and no such model on the hub") from error
        except (HfHubHTTPError, HFValidationError) as error:
            raise InputError(f"{repo_id}: the hub refused: {error}") from error

    weights = next((path for name in WEIGHTS_NAMES if (path := fetched(name))), None)
    if weights is None:
        raise InputError(f"{repo_id} on the hub has no {' and no '.join(WEIGHTS_NAMES)}")
    for name in _CONFIG_NAMES:
        fetched(name)
    return weights.parent
