"""Does a generator go on from its state as if nothing had been between?"""

import numpy as np
import pytest

from reefl_edge.finetune.generators import GeneratorState


@pytest.mark.parametrize("num_drawn", [0, 1, 2])  # 32 bits each, of 64: half of them may be left
def test_a_generator_goes_on_from_its_state(num_drawn: int) -> None:
    generator, other = np.random.default_rng(3).spawn(2)
    generator.integers(10, size=num_drawn, dtype=np.uint32)

    GeneratorState.of(generator).put_into(other)

    expected = generator.integers(2**32, size=5, dtype=np.uint32)
    np.testing.assert_array_equal(other.integers(2**32, size=5, dtype=np.uint32), expected)


def test_another_kind_of_generator_is_refused() -> None:
    with pytest.raises(ValueError, match="a generator must be PCG64, got MT19937"):
        GeneratorState.of(np.random.Generator(np.random.MT19937(0)))


@pytest.mark.parametrize("wrong", [{"state": -1}, {"inc": 2**128}, {"has_uint32": 2}])
def test_a_number_out_of_range_is_refused(wrong: dict[str, int]) -> None:
    numbers = {"state": 1, "inc": 1, "has_uint32": 0, "uinteger": 0, **wrong}

    with pytest.raises(ValueError, match=rf"a generator's {next(iter(wrong))} cannot be"):
        GeneratorState(**numbers)
