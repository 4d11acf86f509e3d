"""The roofline as SVG: work per byte against work per cycle, both logarithmic."""

from collections.abc import Mapping
from math import ceil, floor, log10, sqrt
from typing import Any

from markupsafe import Markup, escape

__all__ = ["roofline"]

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 720, 420, 70, 64, 20, 44
_LARGEST, _SMALLEST = 14.0, 3.0


class _Axes:
    """A logarithmic plane over whole decades."""

    def __init__(self, xs: list[float], ys: list[float]) -> None:
        self.x = (floor(log10(min(xs))), ceil(log10(max(xs))))
        self.y = (floor(log10(min(ys))), ceil(log10(max(ys) * 1.2)))

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return the place of a point, in units of the picture."""
        return (self._along(x, self.x, _LEFT, _WIDTH - _RIGHT),
                self._along(y, self.y, _HEIGHT - _BOTTOM, _TOP))

    @staticmethod
    def _along(value: float, decades: tuple[int, int], low: float, high: float) -> float:
        start, end = decades
        share = (log10(value) - start) / max(1, end - start)
        return low + min(1.0, max(0.0, share)) * (high - low)


def roofline(data: Mapping[str, Any]) -> Markup:
    """Return the roofline of a report's layers."""
    config = data["configuration"]
    peak = config["rows"] * config["cols"]
    bandwidth = config["host_bits"] / 8
    if data["memory_timing"]:
        bandwidth = min(bandwidth, data["memory_timing"]["bytes_per_cycle"])
    points = []
    for layer in data["layers"]:
        moved = sum(layer["dram_bytes"].values())
        if moved and layer["macs"]:
            points.append((layer["macs"] / moved, layer["macs"] / layer["total_cycles"], layer))
    if not points:
        return Markup()
    xs, ys = [x for x, _, _ in points], [y for _, y, _ in points]
    axes = _Axes([*xs, peak / bandwidth / 3], [*ys, peak])
    return Markup("\n").join([
        Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="Roofline: multiply-accumulates '
               'per cycle against multiply-accumulates per byte of external memory">').format(
                   _WIDTH, _HEIGHT),
        *_grid(axes), _roof(axes, peak, bandwidth), *_points(axes, points), Markup("</svg>")])


def _grid(axes: _Axes) -> list[Markup]:
    lines: list[Markup] = []
    (left, bottom), (right, top) = axes.at(10.0**axes.x[0], 10.0**axes.y[0]), axes.at(
        10.0**axes.x[1], 10.0**axes.y[1])
    for decade in range(axes.x[0], axes.x[1] + 1):
        x, _ = axes.at(10.0**decade, 10.0**axes.y[0])
        lines.append(Markup('<path class="grid" d="M{:.1f} {:.1f}V{:.1f}"/><text x="{:.1f}" '
                            'y="{:.1f}" text-anchor="middle">{}</text>').format(
                                x, bottom, top, x, bottom + 24, _decade(decade)))
    for decade in range(axes.y[0], axes.y[1] + 1):
        _, y = axes.at(10.0**axes.x[0], 10.0**decade)
        lines.append(Markup('<path class="grid" d="M{:.1f} {:.1f}H{:.1f}"/><text x="{:.1f}" '
                            'y="{:.1f}" text-anchor="end">{}</text>').format(
                                left, y, right, left - 8, y + 5, _decade(decade)))
    lines.append(Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="middle">MACs of the dense layer '
                        'per byte of external memory</text>').format((left + right) / 2,
                                                                     _HEIGHT - 8))
    lines.append(Markup('<text transform="translate(16 {:.1f}) rotate(-90)" text-anchor="middle">'
                        'MACs per cycle</text>').format((top + bottom) / 2))
    return lines


def _decade(exponent: int) -> str:
    return f"{10.0**exponent:,.{max(0, -exponent)}f}"


def _roof(axes: _Axes, peak: float, bandwidth: float) -> Markup:
    # The roof begins where the slope enters the plane.
    start = max(10.0**axes.x[0], 10.0**axes.y[0] / bandwidth)
    corners = [axes.at(start, start * bandwidth), axes.at(peak / bandwidth, peak),
               axes.at(10.0**axes.x[1], peak)]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in corners)
    return Markup('<path class="roof" d="M{}"/><text x="{:.1f}" y="{:.1f}">{:,.0f} PEs'
                  '</text>').format(path, _LEFT + 6, corners[2][1] + 5, peak)


def _points(axes: _Axes, points: list[tuple[float, float, Any]]) -> list[Markup]:
    most = max(layer["macs"] for _, _, layer in points)
    marks: list[Markup] = []
    for x, y, layer in sorted(points, key=lambda point: -point[2]["macs"]):
        px, py = axes.at(x, y)
        radius = max(_SMALLEST, _LARGEST * sqrt(layer["macs"] / most))
        text = (f"{layer['name']}: {x:,.1f} MACs per byte, {y:,.1f} MACs per cycle, loading and "
                f"storing included")
        marks.append(Markup('<circle cx="{:.1f}" cy="{:.1f}" r="{:.1f}" fill="var(--c0)" '
                            'fill-opacity=".45" stroke="var(--c0)"><title>{}</title></circle>'
                            ).format(px, py, radius, escape(text)))
    return marks
