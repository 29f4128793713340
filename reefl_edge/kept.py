"""Where do we keep what is made once and used again?"""

import os
from pathlib import Path

from platformdirs import user_cache_path


def kept_folder(name: str) -> Path:
    """Return the folder for one kind of things that we keep; it need not exist.

    It lies in ``REEFL_EDGE_HOME``, or in the user's cache folder.
    """
    home = os.environ.get("REEFL_EDGE_HOME")
    return (Path(home) if home else user_cache_path("reefl-edge")) / name
