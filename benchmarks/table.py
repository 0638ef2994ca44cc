"""Writes the figures of conversion.py as Markdown: each beside its rival, with the aim and whether it is met."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from measure import middle, spread, turns

# Ours may cost this part of the rival's.
AIMS = {"flow of 2019": 0.8, "tf2onnx": 0.5, "theirs": 0.05}
MAX_PEAK = {"VGG16": 2e9}
# No slower: what two sessions over the same graph differ by from run to run.
NOISE = 1.02
Figures = dict[str, Any]


def markdown(result: Figures) -> str:
    """The text of results.md."""
    facts = [f"{value} {key}" if key == "processors" else value for key, value in result["machine"].items()]
    versions = ", ".join(f"{name} {value}" for name, value in result["versions"].items())
    parts = [
        "# Results",
        "Written by `python benchmarks/conversion.py --write`; README.md tells what is compared.",
        f"{', '.join(facts)}; {versions}. {turns(result['rounds'])}; ratios are taken round by round. "
        f"Load of the machine before and after: {' and '.join(map(str, result['load']))}.",
        "## h5 to optimized graph",
        _rows(_conversion(result)),
        "## The rewriting alone",
        _rows(_rewriting(result)),
        "## Nodes that are left",
        _rows(_ops(result)),
        "## Inference, one image",
        _rows(_speed(result)),
    ]
    return "\n\n".join(parts) + "\n"


def _conversion(result: Figures) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = [
        ("network", "way", "clock, s", "processors, s", "peak memory, GB", "ours to it: clock", "processors", "aim"),
    ]
    for model, figures in result["models"].items():
        ours = figures["conversion"]["ours"]
        for name, costs in figures["conversion"].items():
            ratios = [_ratios(ours, costs, key) for key in ("wall", "cpu")]
            row = [model, name, _column(costs, "wall"), _column(costs, "cpu"), _column(costs, "peak", 1e9, 2)]
            if any(cost["killed"] for cost in costs):
                row += ["", "", "it ended for want of memory"]
            elif name != "ours":
                row += [*(spread(ratio, 2) for ratio in ratios), _aim(AIMS[name], middle(ratios[0]))]
            elif model in MAX_PEAK:
                row += ["", "", _aim(MAX_PEAK[model] / 1e9, middle([cost["peak"] for cost in costs]) / 1e9, "GB")]
            else:
                row += ["", "", ""]
            rows.append(row)
    return rows


def _rewriting(result: Figures) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = [
        ("network", "ours, s", "ours with a probe after each, s", "TensorFlow's, s", "ours to TensorFlow's", "aim")
    ]
    for model, figures in result["models"].items():
        ways = figures["rewriting"]
        ratio = _ratios(ways["ours"], ways["theirs"], "wall")
        columns = [_column(ways[way], "wall", digits=2) for way in ("ours", "proven", "theirs")]
        rows.append([model, *columns, spread(ratio, 3), _aim(AIMS["theirs"], middle(ratio))])
    return rows


def _ops(result: Figures) -> list[Sequence[str]]:
    shown: dict[str, Callable[[str], bool]] = {
        "nodes": lambda op: True,
        "Mul": lambda op: op == "Mul",
        "batch norms": lambda op: op.startswith(("FusedBatchNorm", "BatchNorm")),
    }
    rows: list[Sequence[str]] = [("network", "by", *shown)]
    for model, figures in result["models"].items():
        for name, ops in figures["ops"].items():
            counts = (sum(count for op, count in ops.items() if fits(op)) for fits in shown.values())
            rows.append([model, name, *map(str, counts)])
    return rows


def _speed(result: Figures) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = [
        ("network", "run by TensorFlow", "ours, ms", "TensorFlow's own, ms", "ours to it", "aim", "outputs differ by")
    ]
    for model, figures in result["models"].items():
        for release, found in figures["speed"].items():
            ours, theirs = found["seconds"]["ours"], found["seconds"]["TensorFlow"]
            ratio = middle(ours) / middle(theirs)
            times = (f"{middle(times) * 1e3:.1f}" for times in (ours, theirs))
            row = [model, release, *times, f"{ratio:.2f}", _aim(NOISE, ratio), f"{found['difference']:.0e}"]
            rows.append(row)
    return rows


def _column(costs: Iterable[Figures], key: str, unit: float = 1.0, digits: int = 1) -> str:
    return spread([cost[key] / unit for cost in costs], digits)


def _ratios(ours: Sequence[Figures], others: Sequence[Figures], key: str) -> list[float]:
    return [a[key] / b[key] for a, b in zip(ours, others, strict=True)]


def _aim(limit: float, found: float, unit: str = "") -> str:
    return f"< {limit:g}{unit and ' ' + unit}: {'met' if found < limit else 'missed'}"


def _rows(rows: Sequence[Sequence[str]]) -> str:
    head, *others = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([head, "|" + "---|" * len(rows[0]), *others])
