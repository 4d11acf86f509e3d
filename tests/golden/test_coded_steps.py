"""Coded steps: what is encoded is decoded, by the code that the payload's table says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smartdeal.golden.coded_steps import (
    CodedStepsError,
    decode_steps,
    encode_steps,
    split_steps,
)
from smartdeal.golden.huffman import HuffmanCode, code_lengths
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import CODE_LIMIT, MAX_PLACES, step_format
from smartdeal.sim.bad_coding import bad_payloads, draw_steps


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 10_000), min_size=2, max_size=40).filter(
    lambda counts: sum(map(bool, counts)) > 1), st.integers(6, 12))
def test_limited_codes(counts: list[int], limit: int) -> None:
    lengths = code_lengths(counts, limit)
    used = [n for n, count in zip(lengths, counts, strict=True) if count]
    assert all(0 < n <= limit for n in used)
    assert sum(2.0**-n for n in used) == 1
    free = code_lengths(counts)
    if max(free) <= limit:  # no worse than without a limit
        assert (np.dot(lengths, counts)) == np.dot(free, counts)


def test_limited_codes_by_hand() -> None:
    """Fibonacci counts want lengths 1, 2, 3, 4, 4; with at most 3 bits they get 2, 2, 2, 3, 3."""
    assert code_lengths([8, 5, 3, 2, 1]) == [1, 2, 3, 4, 4]
    assert code_lengths([8, 5, 3, 2, 1], 3) == [2, 2, 2, 3, 3]
    with pytest.raises(ValueError, match=r"^5 symbols have no codewords of at most 2 bits$"):
        code_lengths([1, 1, 1, 1, 1], 2)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(2, 20), cols=st.integers(2, 20),
       exponents=st.integers(1, 16), host_bits=st.sampled_from([32, 64, 128, 256]),
       steps=st.integers(1, 60), places=st.integers(1, 8))
def test_round_trip(
    seed: int, rows: int, cols: int, exponents: int, host_bits: int, steps: int, places: int,
) -> None:
    config = AcceleratorConfig(rows=rows, cols=cols, exponents=exponents, host_bits=host_bits,
                               activation_words=64, entropy=True)
    units = draw_steps(np.random.default_rng(seed), config, steps, places)
    payload = encode_steps(units, config)
    assert payload is not None
    assert len(payload) % (host_bits // 8) == 0
    assert decode_steps(payload, steps, config) == units


def test_stream_is_that_of_the_huffman_codes() -> None:
    """The naive reading: tables to codes, then one symbol after the other, by HuffmanCode."""
    config = AcceleratorConfig(rows=5, cols=4, activation_words=64, entropy=True)
    units = draw_steps(np.random.default_rng(1), config, 40, 3)
    payload = encode_steps(units, config)
    assert payload is not None
    words = np.frombuffer(payload, "<u4")
    counts = payload[:8], payload[8:16]
    start = 16
    codes = []
    for number, size in ((0, 1), (1, 4)):
        count = sum(counts[number])
        raw = payload[start:start + size * count]
        start += -(-size * count // 4) * 4
        symbols = np.frombuffer(raw, "u1" if size == 1 else "<u4").astype(int).tolist()
        length = [n for n, many in enumerate(counts[number], 1) for _ in range(many)]
        codes.append((symbols, HuffmanCode(tuple(length))))
    bits = np.unpackbits(np.frombuffer(words[start // 4:].astype(">u4").tobytes(), np.uint8))
    expected, places = split_steps(units, config)
    position, address = 0, 0
    for step, place in zip(expected, places, strict=True):
        for number, wanted in [*((0, code) for code in step), (1, place)]:
            symbols, code = codes[number]
            found, used = code.decode_counted(np.packbits(bits[position:]).tobytes(), 1)
            symbol = symbols[int(found[0])]
            position += used
            if number:  # 2 bits of lane, 6 of word, next_last
                address = address + symbol & 0xFF
                symbol = symbol & 0x100 | address
            assert symbol == wanted
    assert (~bits[position:] & 1).all()
    assert len(bits) - position >= CODE_LIMIT


def test_what_has_no_code() -> None:
    config = AcceleratorConfig(rows=2, cols=2, activation_words=1024, entropy=True)
    assert encode_steps(b"", config) is None
    units = draw_steps(np.random.default_rng(0), config, 1000, 500)
    values = len(np.unique(np.diff(split_steps(units, config)[1])))
    assert values > MAX_PLACES
    assert encode_steps(units, config) is None


@pytest.mark.parametrize("host_bits", [32, 64])
def test_malformed(host_bits: int) -> None:
    config = AcceleratorConfig(rows=4, cols=3, activation_words=64, host_bits=host_bits,
                               entropy=True)
    units = draw_steps(np.random.default_rng(3), config, 60, 4)
    steps = len(units) // step_format(config).unit_bytes(host_bits)
    for name, payload in bad_payloads(units, config).items():
        with pytest.raises(CodedStepsError):
            print(name, len(decode_steps(payload, steps, config)))
