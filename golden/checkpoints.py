"""Load a user's weights into a network, or make weights of realistic statistics."""

from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path

import torch
from torch import Tensor, nn

from smartdeal.golden.fashion import CHECKPOINTS
from smartdeal.golden.network_files import (
    SUFFIXES,
    image_kind,
    read_arrays,
    take_calibration,
    take_forms,
)
from smartdeal.golden.networks import NetworkError, ResNet

__all__ = ["load_trained", "load_weights", "noise_images", "seeded_weights"]

#: Keys under which training scripts keep the parameters in a larger dictionary.
_WRAPPERS = ("state_dict", "model_state_dict", "model")
#: Prefix of every name in a checkpoint of torch's DataParallel.
_PARALLEL = "module."
#: A counter that inference does not need; old checkpoints lack it.
_COUNTER = "num_batches_tracked"
#: What a normalisation takes the root of.
_VARIANCE = "running_var"


def _read_torch(path: Path) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception:  # torch documents no closed list, and its texts may be a bare number
        raise NetworkError(f"{path} must be a checkpoint of plain tensors; write it with "
                           "torch.save(model.state_dict(), ...)") from None
    for key in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(
            isinstance(value, Tensor) for value in content.values()):
        raise NetworkError(f"{path} must hold a dictionary of tensors by parameter name")
    return {str(name).removeprefix(_PARALLEL): value for name, value in content.items()}


def _read_forms(model: ResNet, path: Path) -> dict[str, Tensor]:
    """Give the network the drop-in layers of a file; return its other parameters."""
    arrays, header = read_arrays(path)
    try:
        about = header.get("about", {})
        model.calibration, model.data = take_calibration(arrays, about), image_kind(about)
        take_forms(model, arrays, header)
        return {name.removeprefix(_PARALLEL): torch.from_numpy(value)
                for name, value in arrays.items()}
    except (NetworkError, KeyError, TypeError, ValueError) as error:
        raise NetworkError(f"{path} is not a checkpoint of {model.name}: {error}") from None


def _shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


def _first(what: str, names: list[str]) -> list[str]:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return [f"{what} {names[0]}{more}"] if names else []


def _check(model: ResNet, path: Path, state: dict[str, Tensor]) -> None:
    """Raise if parameters are missing, unexpected, of another shape, or of impossible values."""
    wanted = _shapes(model)
    missing = [n for n in wanted if n not in state and not n.endswith(_COUNTER)]
    unexpected = [n for n in state if n not in wanted]
    shaped = [n for n in wanted if n in state and wanted[n] != tuple(state[n].shape)]
    problems = _first("missing", missing) + _first("unexpected", unexpected)
    problems += [f"{name} has shape {tuple(state[name].shape)}, not {wanted[name]}"
                 for name in shaped[:1]]
    if problems:
        raise NetworkError(f"{path} is not a checkpoint of {model.name}: {'; '.join(problems)}")
    for name, value in state.items():
        if not torch.isfinite(value).all():
            raise NetworkError(f"{path}: {name} must be finite, but "
                               f"{int((~torch.isfinite(value)).sum())} of {value.numel()} "
                               f"values are not")
        if name.endswith(_VARIANCE) and (value < 0).any():
            raise NetworkError(f"{path}: {name} must not be negative, but {int((value < 0).sum())} "
                               f"of {value.numel()} values are; use a checkpoint of a trained "
                               f"network")


def load_weights(model: ResNet, path: Path) -> None:
    """Load a checkpoint: .safetensors, .npz, or .pt or .pth as torch saves a state dictionary.

    Nothing in the file is executed. A state dictionary may sit under ``state_dict`` or ``model``,
    and its names may start with ``module.``. Layers that a file of ``smartdeal train`` or
    ``compress`` holds in a weight form become drop-in layers of just these weights.

    Raises
    ------
    NetworkError
        If the file cannot be read or holds another architecture or values that are not finite.
    """
    known = (*SUFFIXES, ".pt", ".pth")
    if path.suffix not in known:
        raise NetworkError(f"weights must be a file {', '.join(known)}, not {str(path)!r}")
    try:
        state = _read_forms(model, path) if path.suffix in SUFFIXES else _read_torch(path)
    except OSError as error:
        raise NetworkError(f"cannot read weights {path}: {error.strerror or error}") from None
    _check(model, path, state)
    model.load_state_dict(state, strict=False)
    model.eval()


def load_trained(model: ResNet) -> None:
    """Load the weights that come with the package.

    Raises
    ------
    NetworkError
        If there are none for this network.
    """
    if model.name not in CHECKPOINTS:
        raise NetworkError(f"trained weights come with {' and '.join(CHECKPOINTS)}, "
                           f"not with {model.name}; give a checkpoint")
    with as_file(files("smartdeal.golden") / CHECKPOINTS[model.name]) as path:
        load_weights(model, path)


def noise_images(
    shape: tuple[int, int, int], count: int, seed: int,
) -> Tensor:
    """Return images of seeded noise that is smooth over several scales, as photographs are.

    Parameters
    ----------
    shape : (channels, height, width)

    Returns
    -------
    float32 tensor, (count, channels, height, width)
        Mean 0, standard deviation 1 per image.
    """
    generator = torch.Generator().manual_seed(seed)
    channels, height, width = shape
    images = torch.zeros(count, *shape)
    for octave in range(6):
        size = (max(1, height >> octave), max(1, width >> octave))
        noise = torch.randn(count, channels, *size, generator=generator)
        images += 2.0**octave * nn.functional.interpolate(
            noise, (height, width), mode="bilinear", align_corners=False)
    mean = images.mean((1, 2, 3), keepdim=True)
    return (images - mean) / images.std((1, 2, 3), keepdim=True).clamp_min(1e-6)


@torch.no_grad()
def seeded_weights(model: ResNet, seed: int) -> None:
    """Give a network weights with the statistics of a trained one.

    Convolutions are He-scaled with tails heavier than a normal distribution's, normalisations have
    uneven gains, and the last of a block a small one. The running statistics are those of a
    batch of :func:`noise_images`, so that activations neither die out nor explode.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator)

    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan_in = module.weight[0].numel()
            heavy = normal(module.weight) * torch.exp(0.4 * normal(module.weight))
            module.weight.copy_(heavy / heavy.std() * (2 / fan_in) ** 0.5)
            if module.bias is not None:
                module.bias.copy_(0.1 * normal(module.bias))
        elif isinstance(module, nn.BatchNorm2d):
            module.weight.copy_(torch.exp(0.3 * normal(module.weight)))
            module.bias.copy_(0.3 * normal(module.bias))
    for _, block in model.blocks:
        last = block.get_submodule(block.chain[-1][1])
        assert isinstance(last, nn.BatchNorm2d)
        last.weight.mul_(0.4)
    _calibrate(model, seed)


def _calibrate(model: ResNet, seed: int) -> None:
    """Set the running statistics to those of one batch."""
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = 1.0
    model.train()
    model(noise_images(model.spec.input_shape, 4, seed))
    model.eval()
    for norm in norms:
        norm.momentum = 0.1
