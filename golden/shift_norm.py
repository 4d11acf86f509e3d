"""Batch normalisation without multiplications (Hubara, Courbariaux et al. 2016, section 1.4)."""

import torch
from torch import Tensor, nn

from smartdeal.golden.straight import straight

__all__ = ["ShiftBatchNorm1d", "ShiftBatchNorm2d", "nearest_power"]


def nearest_power(x: Tensor) -> Tensor:
    """Return AP2(x) = sign(x) · 2^round(log2 \\|x\\|), and 0 for 0; the gradient passes as is."""
    magnitude = x.detach().abs()
    power = torch.exp2(torch.where(magnitude > 0, magnitude, 1.0).log2().round())
    return straight(x, x.detach().sign() * power)


class _ShiftBatchNorm(nn.Module):
    """Normalise a batch with shifts: each factor is the nearest power of two.

    With c = x - mean, the variance is the mean of c · AP2(c), and the output is
    c · AP2(1 / √(variance + eps)) · AP2(gamma) + beta. In evaluation mean and variance are running
    averages.

    Parameters
    ----------
    num_features : int
    eps, momentum : float
        As for torch's batch normalisation.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, num_features: int, eps: float = 1e-4, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each channel, axis 1; the shape stays."""
        axes = [axis for axis in range(x.ndim) if axis != 1]
        shape = [-1 if axis == 1 else 1 for axis in range(x.ndim)]
        if self.training:
            mean = x.mean(axes)
            centred = x - mean.reshape(shape)
            variance = (centred * nearest_power(centred)).mean(axes)
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(variance, self.momentum)
        else:
            centred, variance = x - self.running_mean.reshape(shape), self.running_var
        return centred * self._factor(variance).reshape(shape) + self.bias.reshape(shape)

    def _factor(self, variance: Tensor) -> Tensor:
        return nearest_power((variance + self.eps).rsqrt()) * nearest_power(self.weight)

    def factor(self) -> Tensor:
        """Return what evaluation multiplies each channel by: powers of two, signed, (C,)."""
        return self._factor(self.running_var)


class ShiftBatchNorm1d(_ShiftBatchNorm):
    __doc__ = _ShiftBatchNorm.__doc__


class ShiftBatchNorm2d(_ShiftBatchNorm):
    __doc__ = _ShiftBatchNorm.__doc__
