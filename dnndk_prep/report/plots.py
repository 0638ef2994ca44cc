"""The error of each layer as a plot in SVG, in the page's own colours."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from dnndk_prep.report.drawing import shortened

# Stand in the figure for what the page's style decides, light or dark.
INK, GRID, OWN, TOTAL, WEIGHTS = "#010101", "#020202", "#030303", "#040404", "#050505"
PAGE = {INK: "currentColor", GRID: "var(--line)", OWN: "var(--dpu)", TOTAL: "var(--cpu)", WEIGHTS: "var(--faint)"}
STYLE: dict[Any, Any] = {
    # Texts stay texts, ids come from the content, and a $ in a name is a dollar.
    "svg.fonttype": "none",
    "svg.hashsalt": "dnndk_prep",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 9,
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    "axes.edgecolor": GRID,
    "grid.color": GRID,
    **dict.fromkeys(("axes.spines.top", "axes.spines.right"), False),
}
NO_METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))
LABELS = {"own": "the layer alone", "weights": "its weights"}
# Layers that are named in the plot.
NAMED = 3
# So much of the plot's width lies between two names.
APART = 0.2


def layer_errors(tensors: Sequence[Mapping[str, Any]]) -> str | None:
    """The SQNR of each quantized tensor in the order of the graph; None where nothing was measured.

    The markers of layers stand in the group `own`, those of weights in `weights`, both in the order of the tensors: so
    the page finds the tensor of each.
    """
    known = [(i, item) for i, item in enumerate(tensors) if item["sqnr_db"] is not None]
    layers = [(i, item) for i, item in known if item["kind"] == "aquant"]
    if not layers:
        return None
    # What a user set for his own plots does not show here.
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        return _svg(_figure(known, layers))


def _figure(known: Sequence[tuple[int, Mapping[str, Any]]], layers: Sequence[tuple[int, Mapping[str, Any]]]) -> Figure:
    figure = Figure(figsize=(9, 3.3))
    FigureCanvasSVG(figure)
    axes = figure.add_axes((0.06, 0.08, 0.93, 0.82))
    total = [(i, item["cumulative_sqnr_db"]) for i, item in layers if item["cumulative_sqnr_db"] is not None]
    if total:
        axes.plot(*zip(*total, strict=True), color=TOTAL, label="with all before it")
    weights = [(i, item) for i, item in known if item["kind"] == "wquant"]
    for name, marker, color, size, items in (("weights", "s", WEIGHTS, 4, weights), ("own", "o", OWN, 6, layers)):
        if not items:
            continue
        values = [item["sqnr_db"] for _, item in items]
        axes.plot([i for i, _ in items], values, marker, color=color, markersize=size, gid=name, label=LABELS[name])
    for i, item in _worst(layers, len(known)):
        axes.annotate(
            shortened(item["node"]), (i, item["sqnr_db"]), (0, -11), textcoords="offset points", ha="center", fontsize=8
        )
    axes.set(ylabel="SQNR in dB, more is better", xlabel="quantized tensors from the input to the output", xticks=[])
    axes.margins(x=0.06, y=0.15)
    axes.grid(axis="y", linewidth=0.6)
    figure.legend(loc="upper right", ncols=3, frameon=False)
    return figure


def _worst(layers: Sequence[tuple[int, Mapping[str, Any]]], count: int) -> list[tuple[int, Mapping[str, Any]]]:
    """The layers to be named: those that lose most, of any two that stand near each other the worse."""
    found: list[tuple[int, Mapping[str, Any]]] = []
    for i, item in sorted(layers, key=lambda pair: pair[1]["sqnr_db"]):
        if all(abs(i - other) > count * APART for other, _ in found):
            found.append((i, item))
    return found[:NAMED]


def _svg(figure: Figure) -> str:
    stream = io.StringIO()
    figure.savefig(stream, format="svg", transparent=True, metadata=NO_METADATA)
    text = stream.getvalue()
    # Inside HTML there is no XML head; the page sets the size.
    text = text[text.index("<svg") :]
    text = re.sub(r' width="[\d.]+pt"| height="[\d.]+pt"', "", text, count=2)
    return re.sub("|".join(PAGE), lambda found: PAGE[found[0]], text)
