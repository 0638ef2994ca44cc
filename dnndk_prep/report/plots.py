"""The error of each layer as a plot in SVG, in the page's own colours."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

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
# Layers that are named in the plot.
NAMED = 3


def layer_errors(tensors: Sequence[Mapping[str, Any]]) -> str | None:
    """The SQNR of each quantized tensor in the order of the graph; None where nothing was measured.

    The marker of the tensor i has the id `tensor-i`, by which the page leads to its node.
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
    figure = Figure(figsize=(9, 3.3), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.add_subplot()
    total = [(i, item["cumulative_sqnr_db"]) for i, item in layers if item["cumulative_sqnr_db"] is not None]
    axes.plot(*zip(*total, strict=True), color=TOTAL, label="with all before it") if total else None
    for i, item in known:
        is_layer = item["kind"] == "aquant"
        marker, color, size = ("o", OWN, 6) if is_layer else ("s", WEIGHTS, 4)
        axes.plot([i], [item["sqnr_db"]], marker, color=color, markersize=size, gid=f"tensor-{i}")
    axes.plot([], [], "o", color=OWN, label="the layer alone")
    axes.plot([], [], "s", color=WEIGHTS, markersize=4, label="its weights")
    for i, item in sorted(layers, key=lambda pair: pair[1]["sqnr_db"])[:NAMED]:
        axes.annotate(item["node"], (i, item["sqnr_db"]), (0, -11), textcoords="offset points", ha="center", fontsize=8)
    axes.set(ylabel="SQNR in dB, more is better", xlabel="quantized tensors from the input to the output", xticks=[])
    axes.margins(x=0.06, y=0.15)
    axes.grid(axis="y", linewidth=0.6)
    figure.legend(loc="outside upper right", ncols=3, frameon=False)
    return figure


def _svg(figure: Figure) -> str:
    stream = io.StringIO()
    figure.savefig(stream, format="svg", transparent=True, metadata=NO_METADATA)
    text = stream.getvalue()
    # Inside HTML there is no XML head; the page sets the size.
    text = text[text.index("<svg") :]
    text = re.sub(r' width="[\d.]+pt"| height="[\d.]+pt"', "", text, count=2)
    return re.sub("|".join(PAGE), lambda found: PAGE[found[0]], text)
