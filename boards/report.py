"""The report of a build as a page."""

from html import escape

from smartdeal.boards.build import BuildReport

__all__ = ["report_html"]

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 48rem; padding: 0 1rem }
table { border-collapse: collapse; margin: 1rem 0 }
td, th { border-bottom: 1px solid #ccc; padding: .25rem .75rem; text-align: left }
td:last-child { text-align: right; font-variant-numeric: tabular-nums }
.bar { background: #e4e4e4; height: .75rem; width: 20rem }
.bar div { background: #2a6fb0; height: 100% }
"""


def report_html(report: BuildReport) -> str:
    """Return a page that needs no other file."""
    rows = "".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>"
                   for name, value in report.rows())
    bars = "".join(_bar(name, used, there) for name, used, there in report.shares())
    seeds = "".join(f"<tr><td>{seed.seed}</td><td>{seed.mhz:.1f} MHz</td>"
                    f"<td>{seed.seconds:.0f} s</td></tr>" for seed in report.seeds)
    steps = "".join(f"<tr><td>{escape(step)}</td><td>{seconds:.1f} s</td></tr>"
                    for step, seconds in report.seconds.items())
    best = next(seed for seed in report.seeds if seed.seed == report.best)
    path = " → ".join(map(escape, best.critical_path)) or "unknown"
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{escape(report.board)}</title>
<style>{_STYLE}</style>
<h1>{report.config.rows} × {report.config.cols} on {escape(report.board)}</h1>
<table>{rows}</table>
<h2>Share of the device</h2><table>{bars}</table>
<h2>Seeds</h2><table><tr><th>seed</th><th>clock</th><th>time</th></tr>{seeds}</table>
<p>Critical path of the seed in the bitstream: {path}</p>
<h2>Steps</h2><table>{steps}</table>
<p>{escape(", ".join(report.tools))}</p>
</html>
"""


def _bar(name: str, used: int, there: int) -> str:
    share = min(100.0, 100 * used / there) if there else 0.0
    return (f'<tr><td>{escape(name)}</td><td><div class="bar"><div style="width: {share:.1f}%">'
            f"</div></div></td><td>{used:,} of {there:,}</td></tr>")
