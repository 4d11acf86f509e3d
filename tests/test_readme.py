"""What the README shows in Python is run."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

README = Path(__file__).parents[1] / "README.md"
SNIPPETS = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


def test_python(capsys: pytest.CaptureFixture[str]) -> None:
    snippet, = SNIPPETS
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)).eval()
    images = torch.rand(4, 3, 32, 32)
    names: dict[str, object] = {"model": model, "images": images}
    exec(compile(snippet, README.name, "exec"), names)
    statements = [line for line in snippet.splitlines() if line and not line.startswith("from")]
    assert len(statements) == 5, "five lines are promised"
    said, cycles = capsys.readouterr().out.split()
    with torch.no_grad():
        logits = model(images[:1])[0].numpy()
    assert np.sort(logits)[-1] - logits[int(said)] < 0.05
    assert int(cycles) > 0
