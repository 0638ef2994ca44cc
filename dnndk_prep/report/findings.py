"""What keeps nodes off the DPU and what the quantizer does unsaid, each once, with all its nodes and its remedy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dnndk_prep.check.codes import code_of_finding, code_of_rule
from dnndk_prep.check.findings import Finding
from dnndk_prep.check.judge import CPU
from dnndk_prep.check.network import INPUTS
from dnndk_prep.check.result import fix_text

# The worst first. An input that has to be mended stops the board's tools; a node on the CPU is work for the host.
LEVELS = ("error", "warning", "cpu", "info")


def findings(checks: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The entries of all checks, the worst first: level, name, code, nodes, what, remedy, fix and toolchains."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for toolchain, check in checks.items():
        for node in check["nodes"]:
            if node["limit"] is not None:
                _add(found, toolchain, _of_rule(node))
        for item in check["findings"]:
            _add(found, toolchain, _of_finding(item))
    return sorted(found.values(), key=lambda item: LEVELS.index(item["level"]))


def _add(found: dict[tuple[Any, ...], dict[str, Any]], toolchain: str, item: dict[str, Any]) -> None:
    key = (item["level"], item["name"], item["remedy"], item["fix"])
    entry = found.setdefault(key, {**item, "nodes": [], "toolchains": []})
    for where, value in (("nodes", item["nodes"][0]), ("toolchains", toolchain)):
        if value not in entry[where]:
            entry[where].append(value)


def _of_rule(node: Mapping[str, Any]) -> dict[str, Any]:
    what = node["limit"] if node["value"] is None else f"{node['limit']}; found {node['value']}"
    return {
        "level": "error" if node["placement"] == CPU and node["op"] in INPUTS else "cpu",
        "name": node["rule"],
        "code": code_of_rule(node["rule"]),
        "nodes": [node["node"]],
        "what": what,
        "remedy": node["remedy"],
        "fix": None,
    }


def _of_finding(told: Mapping[str, Any]) -> dict[str, Any]:
    item = Finding(**{key: value for key, value in told.items() if key != "code"})
    return {
        "level": item.severity,
        "name": item.finding,
        "code": code_of_finding(item.finding),
        "nodes": [item.node],
        "what": item.what,
        "remedy": item.remedy,
        "fix": fix_text(item) if item.fix is not None else None,
    }
