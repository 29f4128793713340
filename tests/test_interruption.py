"""Does Ctrl-C wait for what must not be torn, and no longer?"""

import signal
import threading
from collections.abc import Iterator

import pytest

from reefl_edge.interruption import Terminated, held_back, listen

SIGNALS = [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]


@pytest.fixture(autouse=True)
def _listening() -> Iterator[None]:
    """Listen as the command line does, and put back what was there."""
    before = {number: signal.getsignal(number) for number, _ in SIGNALS}
    listen()
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def hear(*numbers: signal.Signals, done: list[str]) -> None:
    """Be sent signals while the block runs, and note how far it comes."""
    with held_back():
        for number in numbers:
            signal.raise_signal(number)
            done.append(number.name)


@pytest.mark.parametrize(("number", "raised"), SIGNALS)
def test_a_block_comes_to_its_end_before_a_signal_is_answered(
    number: signal.Signals, raised: type[BaseException]
) -> None:
    done: list[str] = []

    with pytest.raises(raised):
        hear(number, done=done)

    assert done == [number.name]
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)  # at once, as before


def test_a_second_signal_is_answered_at_once() -> None:
    done: list[str] = []

    with pytest.raises(KeyboardInterrupt):
        hear(signal.SIGTERM, signal.SIGINT, done=done)

    assert done == ["SIGTERM"]


def test_an_error_of_the_block_goes_before_the_signal() -> None:
    def fail() -> None:
        with held_back():
            signal.raise_signal(signal.SIGINT)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()


def test_signals_that_are_ignored_stay_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    with held_back():
        signal.raise_signal(signal.SIGINT)

    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def test_a_thread_holds_nothing_back() -> None:
    done = []

    def work() -> None:
        with held_back():
            done.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert done == [before]
