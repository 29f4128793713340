"""How does a model come from the Hugging Face hub, or not?

The one place that knows huggingface_hub: its errors stop here. What was downloaded once is found
again without a connection. Whether there is one is asked once: left alone, huggingface_hub asks for
each file six times.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reefl_edge.checkpoints.foreign.config import WEIGHTS_NAMES
from reefl_edge.errors import InputError
from reefl_edge.extras import needs_extra

_CONFIG_NAMES = ("config.json", "preprocessor_config.json")
# How long the hub may take to answer, where the user does not say; huggingface_hub's own is 10.
_TIMEOUT_S = 3
_TIMEOUT_VARIABLE = "HF_HUB_ETAG_TIMEOUT"
# What the hub, or what stands before it, answers when it is not well, or does not want to.
_BUSY = (408, 429, 500, 502, 503, 504)


def download(repo_id: str) -> Path:
    """Fetch weights and configuration of a model, and return their folder in the hub's cache.

    The hub has three seconds to answer, or as many as the variable ``HF_HUB_ETAG_TIMEOUT`` says.

    Raises:
        InputError: The hub is out of reach, or has no such model that may be read from here, or
            none with weights we can read.
        MissingToolchainError: huggingface_hub is not installed.
    """
    with needs_extra(
        f"{repo_id} is no file or folder here; as a hub id it", "huggingface_hub", "hub"
    ):
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError

    with _translated_errors(repo_id):
        unreachable = _why_unreachable(repo_id)

        def fetched(name: str) -> Path | None:
            try:
                return Path(
                    hf_hub_download(repo_id, name, local_files_only=unreachable is not None)
                )
            except EntryNotFoundError:  # on the hub, or in the cache
                return None

        weights = next((path for name in WEIGHTS_NAMES if (path := fetched(name))), None)
        if weights is not None:
            for name in _CONFIG_NAMES:
                fetched(name)
            return weights.parent
    if unreachable is not None:
        raise InputError(
            f"{repo_id} is no file or folder here, and the hub is out of reach "
            f"({' '.join(str(unreachable).split())}): give a local file or folder, or more time to "
            f"answer with {_TIMEOUT_VARIABLE}=SECONDS"
        ) from unreachable
    raise InputError(f"{repo_id} on the hub has no {' and no '.join(WEIGHTS_NAMES)}")


def _why_unreachable(repo_id: str) -> Exception | None:
    """Ask the hub for a file, once; return why there is no answer, or None if there is one."""
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    is_said = os.environ.get(_TIMEOUT_VARIABLE)
    timeout = constants.HF_HUB_ETAG_TIMEOUT if is_said else _TIMEOUT_S
    try:
        get_hf_file_metadata(hf_hub_url(repo_id, WEIGHTS_NAMES[0]), timeout=timeout)
    except HfHubHTTPError as error:
        return error if error.response.status_code in _BUSY else None
    except (_transport_error(), OfflineModeIsEnabled) as error:
        return error
    return None


def _transport_error() -> type[Exception]:
    """Return the base of all errors of the library underneath, whose name has changed before."""
    from huggingface_hub.errors import HfHubHTTPError

    return next(kind for kind in HfHubHTTPError.__mro__ if kind.__name__ == "HTTPError")


@contextmanager
def _translated_errors(repo_id: str) -> Iterator[None]:
    from huggingface_hub.errors import (
        FileMetadataError,
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    try:
        yield
    except RepositoryNotFoundError as error:  # also private and gated ones
        raise InputError(
            f"{repo_id}: no file here, and no model on the hub that may be read from here; a "
            "private or gated one takes 'hf auth login' or HF_TOKEN"
        ) from error
    except (
        _transport_error(), FileMetadataError, HFValidationError, OfflineModeIsEnabled
    ) as error:  # fmt: skip
        reason = " ".join(str(error).split())
        raise InputError(f"{repo_id}: the hub refused: {reason}") from error
