"""How does a model come from the Hugging Face hub, or not?

The one place that knows huggingface_hub: its errors stop here. What was downloaded once is found
again without a connection.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reefl_edge.errors import InputError
from reefl_edge.extras import needs_extra
from reefl_edge.foreign.files import WEIGHTS_NAMES

_CONFIG_NAMES = ("config.json", "preprocessor_config.json")


def download(repo_id: str) -> Path:
    """Fetch weights and configuration of a model, and return their folder in the hub's cache.

    Raises:
        InputError: The hub is out of reach, or has no such model with weights we can read.
        MissingToolchainError: huggingface_hub is not installed.
    """
    with needs_extra(
        f"{repo_id} is no file or folder here; as a hub id it", "huggingface_hub", "hub"
    ):
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
    offline: list[LocalEntryNotFoundError] = []

    def fetched(name: str) -> Path | None:
        try:
            return Path(hf_hub_download(repo_id, name))
        except LocalEntryNotFoundError as error:  # not in the cache either
            offline.append(error)
        except EntryNotFoundError:
            pass
        return None

    with _translated_errors(repo_id):
        weights = next((path for name in WEIGHTS_NAMES if (path := fetched(name))), None)
        if weights is not None:
            for name in _CONFIG_NAMES:
                fetched(name)
            return weights.parent
    if offline:
        raise InputError(
            f"{repo_id} is no file or folder here, and the hub is out of reach (offline): "
            "give a local file or folder"
        ) from offline[0]
    raise InputError(f"{repo_id} on the hub has no {' and no '.join(WEIGHTS_NAMES)}")


@contextmanager
def _translated_errors(repo_id: str) -> Iterator[None]:
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    try:
        yield
    except RepositoryNotFoundError as error:  # also private and gated ones
        raise InputError(f"{repo_id}: no file here, and no such model on the hub") from error
    except (HfHubHTTPError, HFValidationError, OfflineModeIsEnabled) as error:
        raise InputError(f"{repo_id}: the hub refused: {error}") from error
