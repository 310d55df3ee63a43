"""What a run makes: bars, tables and plots, to JSON and back without loss."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.moderation.stats import Estimate

Cell = Estimate | int | str | None
"""None: there was nothing to measure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """Something that was promised, and what was measured of it."""

    id: str
    what: str
    measured: Estimate | None
    unit: str  # "%", "" for a figure from 0 to 1, "µs", "ms", "a second", "points"
    limit: float
    at_most: bool = False  # less is better
    aim: bool = False  # reported and brought down, not required
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the figure itself meets it; None where nothing could be measured."""
        if self.measured is None:
            return None
        return self._reached(self.measured.value)

    @property
    def sure(self) -> bool:
        """Whether the whole interval is on the same side."""
        if self.measured is None:
            return False
        return self._reached(self.measured.low) is self._reached(self.measured.high) is self.met

    def _reached(self, value: float) -> bool:
        return value <= self.limit if self.at_most else value >= self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows by name; each has a cell a column."""

    id: str
    title: str
    first: str  # the head of the names
    columns: tuple[str, ...]
    rows: Mapping[str, Sequence[Cell]]
    digits: int = 1
    note: str = ""


@dataclass(frozen=True, slots=True)
class Series:
    """A line of a plot, or single points."""

    name: str
    points: tuple[tuple[float, float], ...]
    line: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A picture of lines; `says` is what somebody who does not see it is told."""

    id: str
    title: str
    says: str
    x: str
    y: str
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    series: tuple[Series, ...]


@dataclass(slots=True, kw_only=True)
class Figures:
    """A whole run."""

    about: dict[str, Any]
    remarks: list[str] = field(default_factory=list)  # what could not be measured, loudly
    bars: list[Bar] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)

    def bar(self, id: str) -> Bar:
        """The bar of that name; `KeyError` where there is none."""
        return {bar.id: bar for bar in self.bars}[id]

    def table(self, id: str) -> Table | None:
        """The table of that name, where the run made it."""
        return {table.id: table for table in self.tables}.get(id)

    def to_json(self) -> str:
        """Everything, numbers rounded to six digits that matter, a bar with whether it is met."""
        data = _plain(asdict(self))
        for bar, written in zip(self.bars, data["bars"], strict=True):
            written["met"] = bar.met
        return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


def from_json(text: str) -> Figures:
    """What `to_json` wrote."""
    data = json.loads(text)
    bars = []
    for bar in data["bars"]:
        bar.pop("met")
        bars.append(Bar(**{**bar, "measured": _cell(bar["measured"])}))
    tables = [
        Table(
            **{
                **table,
                "columns": tuple(table["columns"]),
                "rows": {name: [_cell(cell) for cell in row] for name, row in table["rows"].items()},
            }
        )
        for table in data["tables"]
    ]
    plots = [
        Plot(
            **{
                **plot,
                "x_range": tuple(plot["x_range"]),
                "y_range": tuple(plot["y_range"]),
                "series": tuple(
                    Series(**{**one, "points": tuple((x, y) for x, y in one["points"])})
                    for one in plot["series"]
                ),
            }
        )
        for plot in data["plots"]
    ]
    return Figures(about=data["about"], remarks=data["remarks"], bars=bars, tables=tables, plots=plots)


def _cell(cell: Any) -> Any:
    return Estimate(**cell) if isinstance(cell, dict) else cell


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {name: _plain(one) for name, one in value.items()}
        case list() | tuple():
            return [_plain(one) for one in value]
        case float():
            return float(f"{value:.6g}")
        case _:
            return value
