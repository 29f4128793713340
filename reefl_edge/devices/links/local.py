"""How does a process run on this machine, as on any other device?

Nothing is sent: files lie where they are. A process runs without what a shell sets to tune others,
and ends when we do.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from reefl_edge.devices.host import Host, describe_host
from reefl_edge.devices.links.base import Finished
from reefl_edge.devices.links.client import as_file
from reefl_edge.devices.links.lifeline import VARIABLE, lifeline
from reefl_edge.devices.links.streams import OnLine, collect
from reefl_edge.devices.state import State, state_in
from reefl_edge.devices.system_files import STATE_FILES, read_system_files
from reefl_edge.errors import DeviceError
from reefl_edge.files import replacing_file
from reefl_edge.partials import scratch_folder

# Variables with which a shell tunes threads and allocator: they would be part of what is measured,
# and of no report.
_TUNING_PREFIXES = ("GOMP_", "KMP_", "MALLOC_", "MKL_", "OMP_", "OPENBLAS_", "VECLIB_")


class LocalLink:
    """This machine."""

    name = "local"
    is_real_hardware = True
    has_agent = False
    # -P: the user's folder holds the user's files, which are not to be imported for ours.
    python = (sys.executable, "-P")

    def describe(self) -> Host:
        """Describe this machine."""
        return describe_host()

    def state(self) -> State:
        """Tell how hot this machine is, and what feeds it."""
        return state_in(read_system_files(STATE_FILES))

    def held(self) -> AbstractContextManager[None]:
        """Do nothing: whoever sits here sees what else is going on."""
        return nullcontext()

    def push(
        self,
        path: Path,
        *,
        sha256: str,  # noqa: ARG002
        into: str | None = None,  # noqa: ARG002
        before_sending: Callable[[], None] = lambda: None,  # noqa: ARG002
    ) -> str:
        """Return where it lies: it is there already."""
        return os.fspath(path.absolute())

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        timeout_s: float | None = None,
        silence_s: float | None = None,
        on_line: OnLine = lambda _: None,
    ) -> Finished:
        """Run a process; see ``Link.run``."""
        # Where this process gets no chance to kill it, the lifeline ends it.
        with lifeline() as end, as_file(stdin) as content:
            try:
                process = subprocess.Popen(
                    argv,
                    stdin=content,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    env=_environment() | {VARIABLE: str(end)},
                    pass_fds=(end,),
                )
            except OSError as error:
                raise DeviceError(f"cannot start {argv[0]}: {_reason(error)}") from error
            with process:
                try:
                    stdout, stderr = collect(
                        process, timeout_s=timeout_s, silence_s=silence_s, on_line=on_line
                    )
                finally:
                    process.kill()
        return Finished(exit_code=process.returncode, stdout=stdout, stderr=stderr)

    def pull(self, there: str, here: Path) -> None:
        """Copy a file; see ``Link.pull``."""
        with replacing_file(here) as partial:
            try:
                content = Path(there).read_bytes()
            except OSError as error:
                raise DeviceError(f"cannot fetch {there}: {_reason(error)}") from error
            partial.write_bytes(content)

    @contextmanager
    def scratch(self) -> Iterator[str]:
        """Make a folder; see ``Link.scratch``."""
        with scratch_folder() as folder:
            yield os.fspath(folder)

    def clean(self) -> None:
        """Do nothing: nothing was put here."""


def _environment() -> dict[str, str]:
    return {
        name: value for name, value in os.environ.items() if not name.startswith(_TUNING_PREFIXES)
    }


def _reason(error: OSError) -> str:
    return str(error.strerror).lower()
