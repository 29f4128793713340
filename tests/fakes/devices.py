"""Machines that do not exist."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from reefl_edge.devices.host import Host
from reefl_edge.devices.links.base import Finished
from reefl_edge.devices.links.streams import OnLine
from reefl_edge.devices.state import State
from reefl_edge.errors import DeviceError

HOST = Host(
    os="Linux 6.1",
    arch="x86_64",
    cpu_name="a processor",
    cpu_features=("avx2", "fma"),
    num_cores=4,
    num_usable_cores=2,
    memory_total_mib=8192,
    governor=None,
    load_average=0.25,
    python_version="3.11.7",
    packages={"reefl-edge": "0.1.0", "numpy": "2.0.0"},
)


class FakeLink:
    """A device with a memory instead of a disk; it notes what it is sent and asked to run.

    ``states`` are what it tells of itself, one after the other, the last one again and again.

    Args:
        answer: Called with the standard input of every process, for how it ends.
    """

    name = "fake"
    is_real_hardware = False
    has_agent = False
    python = ("python-there",)

    def __init__(self, answer: Callable[[bytes], Finished]) -> None:
        self.files: dict[str, Path] = {}
        self.num_sent = 0
        self.num_held = 0
        self.argvs: list[tuple[str, ...]] = []
        self.timeouts_s: list[float | None] = []
        self.silences_s: list[float | None] = []
        self.states = [State()]
        self._in_scratch: set[str] = set()
        self._answer = answer

    def describe(self) -> Host:
        """Describe a machine that does not exist."""
        return HOST

    def state(self) -> State:
        """Tell the next state."""
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]

    def held(self) -> AbstractContextManager[None]:
        """Count how often it was held: nobody else knows of it."""
        self.num_held += 1
        return nullcontext()

    def push(
        self,
        path: Path,
        *,
        sha256: str,
        into: str | None = None,
        before_sending: Callable[[], None] = lambda: None,
    ) -> str:
        """Note the file under its name; only a new one is sent."""
        if sha256 not in self.files:
            before_sending()
            self.files[sha256] = path
            self.num_sent += 1
        if into is not None:
            self._in_scratch.add(sha256)
        return f"{into or '/there'}/{sha256}"

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        timeout_s: float | None = None,
        silence_s: float | None = None,
        on_line: OnLine = lambda _: None,
    ) -> Finished:
        """Note the arguments, and answer."""
        self.argvs.append(tuple(argv))
        self.timeouts_s.append(timeout_s)
        self.silences_s.append(silence_s)
        on_line("what it says meanwhile")
        return self._answer(stdin)

    def pull(self, there: str, here: Path) -> None:
        """Fetch what was sent."""
        name = there.removeprefix("/there/")
        if name not in self.files:
            raise DeviceError(f"cannot fetch {there}: no such file")
        here.write_bytes(self.files[name].read_bytes())

    @contextmanager
    def scratch(self) -> Iterator[str]:
        """Name a folder; what is pushed into it is forgotten at its end."""
        try:
            yield "/there/scratch"
        finally:
            for sha256 in self._in_scratch:
                del self.files[sha256]
            self._in_scratch.clear()

    def clean(self) -> None:
        """Forget what was sent."""
        self.files.clear()
