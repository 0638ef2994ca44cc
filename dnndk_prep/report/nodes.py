"""The optimized graph, node by node: shape, place, what is wrong with it, and what quantization does to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dnndk_prep.check.network import Network, node_of
from dnndk_prep.report.facts import ReportFacts

# Of layer_error.csv to numbers; the rest of a row stands in positions.json, too.
NUMBERS = ("sqnr_db", "cumulative_sqnr_db", "max_error", "saturation")


def tensors(facts: ReportFacts) -> list[dict[str, Any]]:
    """What is quantized, in the order of the graph: positions, range, errors, and the nodes that read it.

    Where several quantized tensors hang on one node its activation stands last. Infinite numbers are None, since JSON
    has none; `null` where nothing was measured, too.
    """
    errors = {(row["node"], row["kind"]): row for row in facts.errors}
    places = {name: place for place, name in enumerate(facts.network.ops)} if facts.network is not None else {}
    found = []
    for item in facts.fix_neurons:
        row = errors.get((item["node"], item["kind"]), {})
        found.append(
            {key: item[key] for key in ("node", "kind", "op", "bit_width", "position", "range", "consumers")}
            | {key: _number(row.get(key)) for key in NUMBERS}
        )
    owners = [owner(item, places) for item in found]
    order = sorted(range(len(found)), key=lambda i: (places.get(owners[i] or "", len(places)), _late(found[i]), i))
    return [found[i] for i in order]


def owner(tensor: Mapping[str, Any], places: Mapping[str, int]) -> str | None:
    """The node of the optimized graph that a quantized tensor belongs to: weights to the node that reads them."""
    candidates = [tensor["node"]] if tensor["kind"] == "aquant" else [*tensor["consumers"], tensor["node"]]
    return next((name for name in candidates if name in places), None)


def nodes(facts: ReportFacts) -> list[dict[str, Any]]:
    """Every node but constants, which stand with the nodes that read them."""
    network = facts.network
    if network is None:
        return []
    places = {name: {node["node"]: node for node in check["nodes"]} for name, check in facts.checks.items()}
    findings: dict[str, list[dict[str, Any]]] = {}
    for toolchain, check in facts.checks.items():
        for item in check["findings"]:
            told = {key: item[key] for key in ("finding", "severity", "what", "remedy")}
            findings.setdefault(item["node"], []).append({**told, "toolchain": toolchain})
    shown = [name for name, op in network.ops.items() if op.op != "Const"]
    return [_node(network, name, places, findings.get(name, [])) for name in shown]


def _node(
    network: Network, name: str, places: Mapping[str, Mapping[str, Any]], findings: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    op = network.ops[name]
    shape = network.shapes[name][0] if network.shapes[name] else None
    read = list(dict.fromkeys(map(node_of, op.inputs)))
    constants = [source for source in read if network.ops[source].op == "Const"]
    return {
        "name": name,
        "op": op.op,
        "dtype": op.dtype,
        "shape": None if shape is None else list(shape),
        "inputs": [source for source in read if source not in constants],
        "constants": [{"name": one, "shape": _sizes(network.ops[one].constant_shape)} for one in constants],
        "placement": {toolchain: _place(found[name]) for toolchain, found in places.items() if name in found},
        "findings": list(findings),
    }


def _place(verdict: Mapping[str, Any]) -> dict[str, Any]:
    return {key: verdict[key] for key in ("placement", "rule", "limit", "value", "remedy")}


def _sizes(shape: Sequence[int | None] | None) -> list[int | None] | None:
    return None if shape is None else list(shape)


def _late(tensor: Mapping[str, Any]) -> bool:
    return tensor["kind"] == "aquant"


def _number(text: str | None) -> float | None:
    if text in (None, ""):
        return None
    number = float(str(text))
    return number if abs(number) != float("inf") and number == number else None
