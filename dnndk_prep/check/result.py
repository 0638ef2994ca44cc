"""What a check found, as JSON for programs and as text for people."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dnndk_prep.check.codes import code_of_finding, code_of_rule
from dnndk_prep.check.findings import Finding
from dnndk_prep.check.judge import CPU, DPU, FOLDED, Verdict
from dnndk_prep.check.network import INPUTS
from dnndk_prep.check.partition import Subgraph

WIDTH = 100
# More subgraphs than this are counted, not drawn; more nodes under one rule than this are counted, not named.
DRAWN, NAMED = 24, 4


@dataclass(frozen=True)
class CheckResult:
    """The verdict on every node, the forecast of subgraphs, and what the quantizer would do unsaid."""

    target: str
    nodes: tuple[Verdict, ...]
    subgraphs: tuple[Subgraph, ...]
    findings: tuple[Finding, ...]

    @property
    def on_cpu(self) -> tuple[Verdict, ...]:
        """The operators that run on the CPU."""
        return tuple(node for node in self.nodes if node.placement == CPU and node.op not in INPUTS)

    def fails(self, on: str) -> str | None:
        """Why `--fail-on cpu` or `warning` fails; None where it does not. What fails on cpu fails on warning, too."""
        broken = [node for node in self.nodes if node.placement == CPU]
        if broken:
            return f"{_count(len(broken), 'node')} not on the DPU: {_names([node.node for node in broken])}"
        marked = [item for item in self.findings if item.severity in ("error", "warning")]
        if on == "warning" and marked:
            return f"{_count(len(marked), 'finding')}: {_names([item.finding for item in marked])}"
        return None

    def as_dict(self) -> dict[str, Any]:
        """The result in plain values."""
        return {
            "nodes": [asdict(node) for node in self.nodes],
            "subgraphs": [{"device": part.device, "nodes": list(part.nodes)} for part in self.subgraphs],
            "findings": [{**asdict(item), "code": code_of_finding(item.finding)} for item in self.findings],
        }

    @property
    def verdict(self) -> str:
        """The result in one line."""
        subgraphs = _count(len(self.subgraphs), "subgraph")
        where = f"{_count(len(self.on_cpu), 'node')} on the CPU, {subgraphs}"
        text = where if self.on_cpu else f"all on the DPU in {subgraphs}"
        inputs = sum(node.placement == CPU and node.op in INPUTS for node in self.nodes)
        return f"{text}, {_count(inputs, 'input')} to mend" if inputs else text

    def as_text(self) -> str:
        """The result in lines of at most WIDTH columns, names of nodes aside."""
        parts = [f"{self.verdict}  ({self.target})", "", *self._strip()]
        broken = list(_by_rule([node for node in self.nodes if node.placement == CPU and node.limit is not None]))
        if broken:
            parts += ["", "Not on the DPU"]
            parts += [line for nodes in broken for line in _rule_lines(nodes)]
        if self.findings:
            parts += ["", "Findings"]
            parts += [line for items in _by_finding(self.findings) for line in _finding_lines(items)]
        return "\n".join(parts)

    def _strip(self) -> list[str]:
        names = {DPU: "DPU", CPU: "CPU"}
        words = [f"{names[part.device]} {_count(len(part.nodes), 'node')}" for part in self.subgraphs[:DRAWN]]
        words += [f"... {len(self.subgraphs) - DRAWN} more"] if len(self.subgraphs) > DRAWN else []
        folded = sum(node.placement == FOLDED for node in self.nodes)
        text = " > ".join(words) + f"  ({folded} folded away)"
        return textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="  ", break_long_words=False)


def _by_rule(nodes: Sequence[Verdict]) -> Iterator[list[Verdict]]:
    """The nodes that break the same rule with the same remedy."""
    found: dict[tuple[str | None, ...], list[Verdict]] = {}
    for node in nodes:
        found.setdefault((node.rule, node.limit, node.remedy), []).append(node)
    yield from found.values()


def _rule_lines(nodes: list[Verdict]) -> list[str]:
    first = nodes[0]
    return [
        *_head(f"{_names([node.node for node in nodes])}  {_mark(first.rule, code_of_rule(first.rule))}"),
        *_field("limit", first.limit),
        *_field("value", _first_of([node.value for node in nodes])),
        *_field("do", first.remedy),
    ]


def _by_finding(findings: Sequence[Finding]) -> Iterator[list[Finding]]:
    found: dict[tuple[str, ...], list[Finding]] = {}
    for item in findings:
        found.setdefault((item.finding, item.severity, item.remedy), []).append(item)
    yield from found.values()


def _finding_lines(items: list[Finding]) -> list[str]:
    first = items[0]
    return [
        *_head(
            f"{first.severity}: {_names([item.node for item in items])}  "
            f"{_mark(first.finding, code_of_finding(first.finding))}"
        ),
        *_field("what", _first_of([item.what for item in items])),
        *_field("do", first.remedy),
        *_field("or set", None if first.fix is None else fix_text(first)),
    ]


def fix_text(item: Finding) -> str:
    """The key of the YAML that mends a finding, and what that does to the numbers."""
    effect = "keeps the numbers" if item.exact else "changes the numbers, by how much is measured"
    return f"optimize_for_inference.fixes: [{item.fix}], which {effect}"


def _first_of(texts: Sequence[str | None]) -> str | None:
    """The first text, and that the others tell of other numbers or nodes, where they do."""
    return f"{texts[0]} (the first)" if len(set(texts)) > 1 else texts[0]


def _mark(name: str, code: str | None) -> str:
    """The rule's or finding's name, with the code that `explain` takes where there is one."""
    return f"[{name}, {code}]" if code is not None else f"[{name}]"


def _head(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="    ", break_long_words=False)


def _field(title: str, text: str | None) -> list[str]:
    if text is None:
        return []
    indent = " " * 13
    return textwrap.wrap(
        text, WIDTH, initial_indent=f"      {title:<7}", subsequent_indent=indent, break_long_words=False
    )


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
