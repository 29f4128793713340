"""Are there as many repetitions as we promise?"""

from tests.slow.cases import SHARES


def test_a_thousand_mutations_are_made() -> None:
    assert sum(SHARES.values()) == 1000
