"""Entropy-coded steps for tests: drawn ones, and payloads that must be refused."""

import numpy as np

from smartdeal.golden.coded_steps import encode_steps
from smartdeal.hw.config import AcceleratorConfig
from smartdeal.hw.isa import MAX_PLACES, step_format

__all__ = ["bad_payloads", "draw_steps"]

#: Different codes of eight binary weights; 256 have no code.
_MOST_BINARY = 255


def draw_steps(
    rng: np.random.Generator, config: AcceleratorConfig, steps: int, places: int,
) -> bytes:
    """Return plain units with skewed coefficients, and so many different distances or a few more.

    With the feature ``binary`` coefficients are any eight weights. The addresses lie in the
    activation buffer.
    """
    share = rng.dirichlet(np.full(_MOST_BINARY if config.binary else 2 * config.exponents + 1, 0.3))
    symbol = rng.choice(len(share), (steps, config.rows), p=share)
    if config.binary:  # any eight weights
        codes = rng.permutation(1 << config.code_bits)[symbol]
    else:
        sign = np.where(symbol == 0, 0, 1 - 2 * (symbol % 2))
        codes = config.coefficient.encode(sign, np.maximum(symbol - 1, 0) // 2)
    flat = np.cumsum(rng.choice(rng.integers(0, config.activation_bytes, places), steps))
    flat %= config.activation_bytes
    return step_format(config).pack(
        config.host_bits, coefficients=codes, lane=flat % config.cols, word=flat // config.cols,
        next_last=rng.integers(0, 2, steps))


def bad_payloads(units: bytes, config: AcceleratorConfig) -> dict[str, bytes]:
    """Return payloads that are refused for as many steps as the units have, at least 60."""
    good = encode_steps(units, config)
    assert good is not None
    beat = config.host_bits // 8
    table = 16 + -(-sum(good[:8]) // 4) * 4 + 4 * sum(good[8:16])
    payloads = {
        "no counts": bytes(beat),
        "no coefficients": bytes(8) + good[8:],
        "no places": good[:8] + bytes(8) + good[16:],
        "too many of one bit": b"\3" + good[1:],
        "too many of two bits": good[:8] + b"\1\3" + good[10:],
        "too many of eight bits": bytes(6) + b"\1\xff" + good[8:],
        "too many places": good[:8] + bytes(7) + bytes([MAX_PLACES + 1]) + good[16:],
        "ends within the table": good[:max(16, beat)],
        "ends within the stream": good[:-(-table // beat) * beat + beat],
        "no codeword": b"\0\1" + bytes(6) + b"\0\1" + bytes(6) + bytes(8) + b"\xff" * 64,
    }
    return {name: payload.ljust(-(-len(payload) // beat) * beat, b"\0")
            for name, payload in payloads.items()}
