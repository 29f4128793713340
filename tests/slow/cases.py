"""Which mutations are made, how many of each kind of file, and what may come of one?

A thousand in all. A *case* is one mutation of one file: its name, which is that of its test, says
the kind of file, the mutation and the seed, and is all it takes to make it again.
"""

import faulthandler
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from random import Random
from typing import TypeVar

import pytest

from reefl_edge.errors import ReeflEdgeError

T = TypeVar("T")

# By kind of file; those of a bundle are its manifest, its files, and its files hashed anew.
SHARES = {
    "manifest": 100,
    "bundle-file": 70,
    "bundle-folder": 20,
    "rehashed-weights": 30,
    "rehashed-graph": 35,
    "rehashed-program": 20,
    "rehashed-package": 25,
    "checkpoint": 130,
    "update": 100,
    "foreign": 40,
    "report": 100,
    "recipe": 80,
    "profile": 80,
    "npz": 50,
    "speech-pack": 25,
    "cifar": 30,
    "leaf": 25,
    "image-folder": 20,
    "command-line": 20,
}

# Beyond any work of one case; what takes longer hangs.
_LONGEST_S = 300


@dataclass(frozen=True, slots=True)
class Case:
    """One mutation of one file."""

    kind: str
    mutation: str
    seed: int

    @property
    def name(self) -> str:
        """What it takes to make it again."""
        return f"{self.kind}-{self.mutation}-{self.seed}"

    def random(self) -> Random:
        """Return the case's own random numbers, the same every time."""
        return Random(self.name)


class Refused(str):
    """The one line in which a reader refused a file."""


def cases(kind: str, mutations: Iterable[str]) -> pytest.MarkDecorator:
    """Return the decorator that gives a test the ``case`` s of a kind, its share of them."""
    names = islice(cycle(mutations), SHARES[kind])
    made = [Case(kind, mutation, seed) for seed, mutation in enumerate(names)]
    return pytest.mark.parametrize("case", made, ids=[each.name for each in made])


def answer(read: Callable[[], T], *, may_raise: type[Exception] = ReeflEdgeError) -> T | Refused:
    """Return what a reader gives, or the one line in which it refuses.

    Anything else that it raises, or a second line, fails the test.

    Args:
        read: The reader.
        may_raise: What its docstring says it raises beside our own errors.
    """
    try:
        return read()
    except (ReeflEdgeError, may_raise) as error:
        refused = Refused(error)
    assert len(refused.splitlines()) == 1, f"no single line: {refused!r}"
    return refused


@contextmanager
def watched() -> Iterator[None]:
    """End this process, telling where it is, if the block hangs."""
    faulthandler.dump_traceback_later(_LONGEST_S, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
