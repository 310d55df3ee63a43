"""Line plots as SVG: small, readable in light and dark, with words for those who do not see them.

Written by hand because a plotting library weighs more than the whole project, and draws for one background.
"""

from collections.abc import Iterator
from xml.sax.saxutils import escape

from benchmarks.moderation.figures import Plot, Series

WIDTH, HEIGHT = 640, 400
LEFT, RIGHT, TOP, BOTTOM = 60, 16, 40, 92

STYLE = """
svg { background: #ffffff; color: #1c2530; font: 13px system-ui, sans-serif; }
text { fill: currentColor; }
.grid { stroke: #d9dee5; }
.axis { stroke: #5b6675; fill: none; }
.line { fill: none; stroke: currentColor; stroke-width: 2; }
.dot { fill: currentColor; stroke: #ffffff; }
.c0 { color: #0b62a4; }
.c1 { color: #b3530a; }
.c2 { color: #18794e; }
.c3 { color: #8a3ba8; }
.c4 { color: #5b6675; }
@media (prefers-color-scheme: dark) {
  svg { background: #12181f; color: #e6ebf2; }
  .grid { stroke: #2b3541; }
  .axis { stroke: #93a0b0; }
  .dot { stroke: #12181f; }
  .c0 { color: #6db6f2; }
  .c1 { color: #f0a35e; }
  .c2 { color: #5fcf9b; }
  .c3 { color: #cf93e6; }
  .c4 { color: #a5b0bd; }
}
""".strip()

DASHES = ("", "7 4", "2 3", "10 3 2 3", "1 4")
"""A line is known by its dashes too, for who does not see colours apart."""


def svg(plot: Plot) -> str:
    """The plot as one file that needs no other."""
    return "\n".join(_parts(plot)) + "\n"


def _parts(plot: Plot) -> Iterator[str]:
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}"'
        f' height="{HEIGHT}" role="img" aria-labelledby="title says">'
    )
    yield f'<title id="title">{escape(plot.title)}</title>'
    yield f'<desc id="says">{escape(plot.says)}</desc>'
    yield f"<style>{STYLE}</style>"
    yield f'<text x="{LEFT}" y="22" font-weight="600">{escape(plot.title)}</text>'
    for at in range(6):
        x = plot.x_range[0] + (plot.x_range[1] - plot.x_range[0]) * at / 5
        y = plot.y_range[0] + (plot.y_range[1] - plot.y_range[0]) * at / 5
        across, down = _place(plot, x, y)
        bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
        yield f'<line class="grid" x1="{LEFT}" y1="{down:.1f}" x2="{right}" y2="{down:.1f}"/>'
        yield f'<line class="grid" x1="{across:.1f}" y1="{TOP}" x2="{across:.1f}" y2="{bottom}"/>'
        yield f'<text x="{LEFT - 8}" y="{down + 4:.1f}" text-anchor="end">{_number(y)}</text>'
        yield f'<text x="{across:.1f}" y="{bottom + 18}" text-anchor="middle">{_number(x)}</text>'
    bottom = HEIGHT - BOTTOM
    yield f'<path class="axis" d="M{LEFT} {TOP}V{bottom}H{WIDTH - RIGHT}"/>'
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield f'<text x="{middle:.0f}" y="{bottom + 36}" text-anchor="middle">{escape(plot.x)}</text>'
    centre = (TOP + bottom) / 2
    yield (
        f'<text x="16" y="{centre:.0f}" text-anchor="middle" transform="rotate(-90 16 {centre:.0f})">'
        f"{escape(plot.y)}</text>"
    )
    colours = {name: at for at, name in enumerate(dict.fromkeys(_family(one) for one in plot.series))}
    for one in plot.series:
        yield from _drawn(plot, one, colours[_family(one)] % 5)
    yield from _legend(plot, colours)
    yield "</svg>"


def _family(series: Series) -> str:
    """A single point has the colour of the line that it belongs to."""
    return series.name.partition(",")[0] if not series.line else series.name


def _drawn(plot: Plot, series: Series, colour: int) -> Iterator[str]:
    label = f"<title>{escape(series.name)}</title>"
    if not series.line:
        for x, y in series.points:
            across, down = _place(plot, x, y)
            yield f'<circle class="dot c{colour}" cx="{across:.1f}" cy="{down:.1f}" r="6">{label}</circle>'
        return
    # A line that leaves the picture ends at its edge, not where its last point inside happens to be.
    points = [_place(plot, x, y) for x, y in _cut(series.points, plot.x_range[1])]
    path = "M" + "L".join(f"{across:.1f} {down:.1f}" for across, down in points)
    dashes = f' stroke-dasharray="{DASHES[colour]}"' if DASHES[colour] else ""
    yield f'<path class="line c{colour}"{dashes} d="{path}">{label}</path>'


def _cut(points: tuple[tuple[float, float], ...], most: float) -> Iterator[tuple[float, float]]:
    before: tuple[float, float] | None = None
    for x, y in points:
        if x > most:
            if before is not None and x > before[0]:
                yield most, before[1] + (y - before[1]) * (most - before[0]) / (x - before[0])
            return
        yield x, y
        before = x, y


def _legend(plot: Plot, colours: dict[str, int]) -> Iterator[str]:
    across, down = LEFT, HEIGHT - BOTTOM + 58
    for one in plot.series:
        width = 40 + 7 * len(one.name)
        if across + width > WIDTH - RIGHT and across > LEFT:
            across, down = LEFT, down + 18
        colour = colours[_family(one)] % 5
        if one.line:
            dashes = f' stroke-dasharray="{DASHES[colour]}"' if DASHES[colour] else ""
            yield f'<path class="line c{colour}"{dashes} d="M{across} {down - 4}h24"/>'
        else:
            yield f'<circle class="dot c{colour}" cx="{across + 12}" cy="{down - 4}" r="5"/>'
        yield f'<text x="{across + 30}" y="{down}">{escape(one.name)}</text>'
        across += width


def _place(plot: Plot, x: float, y: float) -> tuple[float, float]:
    (x0, x1), (y0, y1) = plot.x_range, plot.y_range
    across = LEFT + (min(max(x, x0), x1) - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT)
    down = HEIGHT - BOTTOM - (min(max(y, y0), y1) - y0) / (y1 - y0) * (HEIGHT - TOP - BOTTOM)
    return across, down


def _number(value: float) -> str:
    return f"{value:.10g}" if value == round(value, 6) else f"{value:.1f}"
