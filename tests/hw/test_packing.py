"""Words of bit fields: packing against plain integer arithmetic."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smartdeal.hw.packing import Field, WordFormat

FORMAT = WordFormat("thing", (
    Field("low", 3),
    Field("list", 5, signed=True, count=4),
    Field("high", 33, signed=True),
))


def test_layout() -> None:
    assert FORMAT.bits == 56
    assert [FORMAT.offset(name) for name in ("low", "list", "high")] == [0, 3, 23]
    assert [FORMAT.unit_bytes(bits) for bits in (32, 64, 128)] == [8, 8, 16]
    with pytest.raises(KeyError):
        FORMAT.offset("middle")


@settings(max_examples=50, deadline=None)
@given(st.data(), st.sampled_from([32, 64, 128, 256]), st.integers(0, 5))
def test_pack_is_shift_and_or(data: st.DataObject, host_bits: int, words: int) -> None:
    def draw(bits: int, signed: bool) -> int:
        low = -(1 << bits - 1) if signed else 0
        return data.draw(st.integers(low, low + (1 << bits) - 1))

    rows = [([draw(3, False)], [draw(5, True) for _ in range(4)], [draw(33, True)])
            for _ in range(words)]
    expected = b""
    for low, four, high in rows:
        word = low[0] | sum((value & 31) << 3 + 5 * i for i, value in enumerate(four))
        word |= (high[0] & (1 << 33) - 1) << 23
        expected += word.to_bytes(FORMAT.unit_bytes(host_bits), "little")
    arrays = {
        "low": np.array([row[0][0] for row in rows], np.int64),
        "list": np.array([row[1] for row in rows], np.int64).reshape(words, 4),
        "high": np.array([row[2][0] for row in rows], np.int64),
    }
    packed = FORMAT.pack(host_bits, **arrays)
    assert packed == expected
    for name, values in FORMAT.unpack(packed, host_bits).items():
        assert np.array_equal(values, arrays[name])


SCALARS = WordFormat("scalars", (Field("low", 3), Field("middle", 9, signed=True),
                                 Field("high", 40)))


@given(low=st.integers(0, 7), middle=st.integers(-256, 255), high=st.integers(0, (1 << 40) - 1))
def test_a_word_alone(low: int, middle: int, high: int) -> None:
    word = SCALARS.pack_word(low=low, middle=middle, high=high)
    arrays = {"low": np.array([low]), "middle": np.array([middle]), "high": np.array([high])}
    assert word.to_bytes(SCALARS.unit_bytes(32), "little") == SCALARS.pack(32, **arrays)
    assert SCALARS.unpack_word(word) == {"low": low, "middle": middle, "high": high}
    assert SCALARS.pack_word(middle=middle) == (middle & 511) << 3


def test_word_alone_refused() -> None:
    with pytest.raises(ValueError, match=r"^scalars field 'middle' must be from -256 to 255, not "
                                         r"256$"):
        SCALARS.pack_word(middle=256)
    with pytest.raises(TypeError, match="scalars has no field 'lower'"):
        SCALARS.pack_word(lower=1)


@pytest.mark.parametrize(("values", "message"), [
    ({"low": [8]}, "thing field 'low' must be from 0 to 7, not 8"),
    ({"low": [-1]}, "thing field 'low' must be from 0 to 7, not -1"),
    ({"list": [[0, 0, 16, 0]]}, "thing field 'list' must be from -16 to 15, not 16"),
])
def test_value_that_does_not_fit(values: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {"low": [0], "list": [[0] * 4], "high": [0]}
    with pytest.raises(ValueError, match=r"^thing") as caught:
        FORMAT.pack(32, **{name: np.array(value) for name, value in (good | values).items()})
    assert str(caught.value) == message


def test_unknown_field() -> None:
    with pytest.raises(TypeError, match=r"^thing has no field 'more'$"):
        FORMAT.pack(32, low=np.array([1]), list=np.zeros((1, 4), int), high=np.array([0]),
                    more=np.array([1]))


def test_missing_field() -> None:
    with pytest.raises(KeyError):
        FORMAT.pack(32, low=np.array([1]))
