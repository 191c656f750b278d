"""The demo's figures as a picture. Needs the extra ``picture``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .report import Row, percentile

_COLOURS = {"stock": "#b8b8b8", "accelerated": "#2a7de1"}

_PANELS: tuple[tuple[str, Callable[[Row], float | None]], ...] = (
    ("latency, p50, ms", lambda row: percentile(row.latencies, 0.5) * 1000),
    ("time to the first token, p50, ms", lambda row: None if row.first_token is None else row.first_token * 1000),
    ("CPU of the client per call, ms", lambda row: row.processor_time_per_call * 1000),
    ("TLS handshakes", lambda row: row.handshakes),
)


def draw(rows: Sequence[Row], file: Path) -> None:
    """Writes the PNG. ModuleNotFoundError without matplotlib; OSError if the file cannot be written."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 8), layout="constrained")
    FigureCanvasAgg(figure)
    for place, (title, value_of) in enumerate(_PANELS):
        _draw_panel(figure.add_subplot(2, 2, place + 1), title, rows, value_of)
    figure.suptitle("litellm, stock and accelerated; each pair of bars has a scale of its own")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)


def _draw_panel(axes: Any, title: str, rows: Sequence[Row], value_of: Callable[[Row], float | None]) -> None:
    """One figure of all phases that have it: a pair of bars for each, stock above accelerated, the longer one full."""
    values = {(row.phase, row.client): value for row in rows if (value := value_of(row)) is not None}
    phases = list(dict.fromkeys(phase for phase, _ in values))
    scales = {phase: max(values.get((phase, client), 0.0) for client in _COLOURS) or 1.0 for phase in phases}
    for offset, (client, colour) in zip((-0.2, 0.2), _COLOURS.items(), strict=True):
        lengths = [values.get((phase, client), 0.0) / scales[phase] for phase in phases]
        labels = [_label(values.get((phase, client))) for phase in phases]
        bars = axes.barh([place + offset for place in range(len(phases))], lengths, 0.38, color=colour, label=client)
        axes.bar_label(bars, labels, padding=3, fontsize=8)
    axes.set_yticks(range(len(phases)), phases, fontsize=8)
    axes.set_xticks([])
    axes.set_xlim(0, 1.2)
    axes.invert_yaxis()
    axes.set_title(title, fontsize=10)
    axes.spines[["top", "right", "bottom"]].set_visible(False)


def _label(value: float | None) -> str:
    if value is None:
        return "n/a"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
