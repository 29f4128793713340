"""What did the user mean by a name that is not known, and what is called by its number?"""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import TypeVar

Name = TypeVar("Name", bound=str)


def parse_name(text: str, known: Iterable[Name], *, kind: str) -> Name:
    """Return the known name that a text is.

    Args:
        text: What the user wrote.
        known: The names there are.
        kind: What they are names of, for the message.

    Raises:
        ValueError: It is none of them; the closest are named.
    """
    names = list(known)
    for name in names:
        if name == text:
            return name
    raise ValueError(f"no {kind} is called {text!r}{closest(text, names)}")


def closest(name: str, known: Iterable[str]) -> str:
    """Return the tail of a message about an unknown name: the closest known ones, or all.

    >>> closest("onx", ["onnx", "executorch"])
    '; did you mean onnx?'
    """
    choices = list(known)
    matches = get_close_matches(name.lower(), choices, n=3, cutoff=0.5)
    if matches:
        return f"; did you mean {' or '.join(matches)}?"
    return f"; choose one of {', '.join(choices)}"


def numbered_names(num_classes: int) -> tuple[str, ...]:
    """Return the class names of a model that has none.

    >>> numbered_names(3)
    ('0', '1', '2')
    """
    return tuple(map(str, range(num_classes)))
