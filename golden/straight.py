"""Gradients that pass straight through a rounding (Bengio et al. 2013).

Each function returns its rounded values exactly, bit for bit, which ``x + (rounded - x).detach()``
would not.
"""

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx

__all__ = ["binarise", "sign", "straight"]


class _Straight(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def straight(x: Tensor, value: Tensor) -> Tensor:
    """Return ``value`` with the gradient of ``x``; both have one shape."""
    result: Tensor = _Straight.apply(x, value)  # pyright: ignore[reportAssignmentType]
    return result


def sign(x: Tensor) -> Tensor:
    """Return +1 where x ≥ 0 and -1 elsewhere: zero counts as +1, negative zero too."""
    # One pass, many times faster than a comparison; -0 + 0 is +0.
    return torch.copysign(torch.ones((), dtype=x.dtype), x + 0.0)


class _Binarise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return sign(x)

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> Tensor:
        x, = ctx.saved_tensors  # pyright: ignore[reportAttributeAccessIssue]
        beyond = 1 + torch.finfo(x.dtype).eps  # it is the bounds where this gradient is zero
        return torch.ops.aten.hardtanh_backward(gradients[0], x, -beyond, beyond)


def binarise(x: Tensor) -> Tensor:
    """Return :func:`sign` of x; the gradient passes where \\|x\\| ≤ 1 and is zero elsewhere.

    That is the derivative of the hard tanh (Hubara et al. 2016, section 1.3).
    """
    result: Tensor = _Binarise.apply(x)  # pyright: ignore[reportAssignmentType]
    return result
