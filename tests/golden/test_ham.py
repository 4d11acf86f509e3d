"""Huffman codes, weight sharing and storage formats: worked numbers and real bytes."""

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smartdeal.golden.ham import FORMATS, decode_matrix, encode_matrix, ham_bound, sham_bound
from smartdeal.golden.huffman import HuffmanCode, code_lengths, entropy_bits
from smartdeal.golden.sharing import SHARING, entropy_constrained, k_means, prune_percentile, share


def test_code_lengths_by_hand() -> None:
    """Counts 5, 9, 12, 13, 16, 45 (Cormen et al., section 16.3) give 4, 4, 3, 3, 3, 1 bits."""
    assert code_lengths([5, 9, 12, 13, 16, 45]) == [4, 4, 3, 3, 3, 1]
    assert code_lengths([0, 7, 0]) == [0, 1, 0]
    with pytest.raises(ValueError, match=r"^a Huffman code needs at least one symbol that occurs$"):
        code_lengths([0, 0])


def test_canonical_codewords_by_hand() -> None:
    """Lengths 2, 1, 3, 3: symbol 1 is 0, symbol 0 is 10, symbols 2 and 3 are 110 and 111."""
    code = HuffmanCode((2, 1, 3, 3))
    assert code.codewords == {1: 0b0, 0: 0b10, 2: 0b110, 3: 0b111}
    data, bits = code.encode(np.array([3, 1, 0, 2]))
    assert bits == 9
    assert data == bytes([0b11101011, 0b00000000])
    assert code.decode(data, 4).tolist() == [3, 1, 0, 2]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 1000), min_size=1, max_size=40).filter(any), st.integers(0, 99))
def test_codes_are_optimal_prefix_codes(counts: list[int], seed: int) -> None:
    lengths = code_lengths(counts)
    used = [n for n, count in zip(lengths, counts, strict=True) if count]
    assert all(used)
    if len(used) > 1:
        assert sum(2.0**-n for n in used) == 1  # Kraft: the code is complete
    mean = sum(n * c for n, c in zip(lengths, counts, strict=True)) / sum(counts)
    assert entropy_bits(counts) <= mean + 1e-9 < entropy_bits(counts) + 1 + 1e-6
    rng = np.random.default_rng(seed)
    symbols = rng.choice(len(counts), 50, p=np.array(counts) / sum(counts))
    code = HuffmanCode(tuple(lengths))
    data, bits = code.encode(symbols)
    assert len(data) == -(-bits // 8)
    np.testing.assert_array_equal(code.decode(data, 50), symbols)


def test_broken_streams_are_refused() -> None:
    code = HuffmanCode((1, 2, 0))
    with pytest.raises(ValueError, match=r"^symbol 2 has no codeword$"):
        code.encode(np.array([0, 2]))
    with pytest.raises(ValueError, match=r"^the bits end after 8 of 9 symbols$"):
        code.decode(b"\0", 9)
    with pytest.raises(ValueError, match=r"^the bits before 2 are no codeword$"):
        code.decode(b"\xff", 1)


def test_percentile_pruning_by_hand() -> None:
    """The median of 1, 2, 3, 4, 5 is 3: only what is above it stays."""
    pruned = prune_percentile(np.array([1.0, -2, 3, -4, 5]), 50)
    assert pruned.tolist() == [0, 0, 0, -4, 5]
    assert prune_percentile(pruned, 0).tolist() == pruned.tolist()
    with pytest.raises(ValueError, match=r"^percentile must be from 0 to 100, not 101$"):
        prune_percentile(pruned, 101)


def test_sharing_by_hand() -> None:
    values = np.array([0.0, 0.1, 0.2, 9.9, 10.0])
    rng = np.random.default_rng(0)
    centres, index = k_means(values, 2, rng)
    np.testing.assert_allclose(centres, [0.1, 9.95])
    assert index.tolist() == [0, 0, 0, 1, 1]
    assert SHARING["uq"](values, 3, rng)[0].tolist() == [0, 5, 10]
    assert SHARING["uq"](values, 3, rng)[1].tolist() == [0, 0, 0, 2, 2]


def test_probabilistic_sharing_has_no_bias() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal(200)
    mean = np.mean([share(values, "pws", 8, seed=seed) for seed in range(400)], axis=0)
    # Two choices a bin apart, 400 draws: an error of 5 standard deviations would be this large.
    bins = np.diff(np.quantile(values, np.linspace(0, 1, 8))).max()
    assert np.abs(mean - values).max() < 5 * bins / 2 / math.sqrt(400)


def test_entropy_constraint_saves_bits() -> None:
    values = np.random.default_rng(0).standard_normal(4000)
    rng = np.random.default_rng(0)
    free = np.bincount(k_means(values, 16, rng)[1])
    bound = np.bincount(entropy_constrained(values, 16, rng, weight=2.0)[1])
    assert entropy_bits(bound.tolist()) < entropy_bits(free.tolist()) - 0.1
    none = entropy_constrained(values, 16, rng, weight=0.0)
    np.testing.assert_array_equal(none[1], k_means(values, 16, rng)[1])


@pytest.mark.parametrize("method", sorted(SHARING))
def test_sharing_keeps_zeros_and_few_values(method: str) -> None:
    weights = prune_percentile(np.random.default_rng(1).standard_normal((40, 30)), 60)
    shared = share(weights, method, 8)
    assert ((shared == 0) >= (weights == 0)).all()
    assert len(np.unique(shared[weights != 0])) <= 8
    assert np.abs(shared - weights).max() < 3
    assert not share(np.zeros((2, 2)), method, 4).any()


def test_wrong_sharing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^sharing must be one of cws, pws, uq, ecsq, not 'x'$"):
        share(np.ones(3), "x", 4)
    with pytest.raises(ValueError, match=r"^shared values must be at least 2, not 1$"):
        share(np.ones(3), "cws", 1)


@settings(max_examples=60, deadline=None)
@given(form=st.sampled_from(FORMATS), seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 20),
       columns=st.integers(1, 20), k=st.integers(1, 9), zeros=st.floats(0, 1))
def test_formats_give_the_matrix_back(
    form: str, seed: int, rows: int, columns: int, k: int, zeros: float,
) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.choice(rng.standard_normal(k), (rows, columns)).astype(np.float32)
    matrix[rng.random(matrix.shape) < zeros] = 0
    encoded = encode_matrix(matrix, form)
    np.testing.assert_array_equal(decode_matrix(encoded.data), matrix)
    # The bytes are the parts, a header, and at most a byte's rest for each of three parts.
    bits = encoded.payload_bits + encoded.structure_bits + encoded.table_bits
    assert bits <= 8 * (len(encoded.data) - 9) <= bits + 21


def test_sizes_by_hand() -> None:
    """A 4×4 matrix of two values, a quarter of it 1: what each format takes, bit for bit."""
    matrix = np.zeros((4, 4), np.float32)
    matrix[0] = 1
    sizes = {form: encode_matrix(matrix, form) for form in FORMATS}
    assert sizes["dense"].payload_bits == 16 * 32
    assert (sizes["csc"].payload_bits, sizes["csc"].structure_bits) == (4 * 32, 4 * 3 + 4 * 2)
    assert (sizes["index_map"].payload_bits, sizes["index_map"].table_bits) == (16, 32 + 64)
    assert (sizes["ham"].payload_bits, sizes["ham"].table_bits) == (16, 32 + 2 * 40)
    assert (sizes["sham"].payload_bits, sizes["sham"].structure_bits) == (4, 20)


def test_published_bounds_hold_for_real_bytes() -> None:
    """HAM ≤ (1 + log2 k)/B + 6k/(nm); sHAM with its row numbers counted."""
    rng = np.random.default_rng(0)
    for density in (1.0, 0.5, 0.1, 0.03):
        weights = np.where(rng.random((256, 300)) < density, rng.standard_normal((256, 300)), 0)
        matrix = share(weights, "cws", 32).astype(np.float32)
        real = {form: len(encode_matrix(matrix, form).data) * 8 / (32 * matrix.size)
                for form in FORMATS}
        k = len(np.unique(matrix))
        assert real["ham"] <= ham_bound(256, 300, k)
        used = np.count_nonzero(matrix) / matrix.size
        assert real["sham"] <= sham_bound(256, 300, k, used)
        assert real["sham"] < real["csc"]
    assert real["sham"] < real["ham"]  # at 3 % density


def test_wrong_matrices_are_refused() -> None:
    matrix = np.ones((2, 3), np.float32)
    message = "storage format must be one of dense, csc, index_map, ham, sham, not 'zip'"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        encode_matrix(matrix, "zip")
    with pytest.raises(ValueError, match=r"^a matrix has two axes, not 1$"):
        encode_matrix(matrix[0], "ham")
    with pytest.raises(ValueError, match=r"^matrix must have 24 more bytes, not 23$"):
        decode_matrix(encode_matrix(matrix, "dense").data[:-1])
    with pytest.raises(ValueError, match=r"^storage format must be below 5, not 9$"):
        decode_matrix(b"\x09" + encode_matrix(matrix, "dense").data[1:])
