"""The report's page and JSON: the verdict, what they tell of nodes, that names stay text, and that they repeat."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from importlib import resources
from typing import Any

import jsonschema
import pytest
import report_facts as made

from dnndk_prep import report
from dnndk_prep.code_version import imported_by
from dnndk_prep.report.plots import layer_errors
from dnndk_prep.stage_list import NAMES

SCHEMA = json.loads((resources.files("dnndk_prep.report") / "schema.json").read_text(encoding="utf-8"))


class Elements(HTMLParser):
    """The elements of a page: names, attributes, and the text of each script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> report.ReportFacts:
    return made.facts(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def page(facts: report.ReportFacts) -> str:
    return report.page(facts)


def verdict_of(facts: report.ReportFacts) -> dict[str, Any]:
    return report.as_json(facts)["verdict"]


def changed(facts: report.ReportFacts, **changes: Any) -> report.ReportFacts:
    return report.ReportFacts(**{**facts.__dict__, **changes})


def quiet(facts: report.ReportFacts) -> report.ReportFacts:
    """The facts without findings and warnings."""
    checks = {name: {**item, "findings": []} for name, item in facts.checks.items()}
    return changed(facts, checks=checks, stages=tuple({**item, "warnings": []} for item in facts.stages))


def test_the_json_is_as_its_schema_says(facts):
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    told = json.loads(json.dumps(report.as_json(facts), allow_nan=False))
    jsonschema.validate(told, SCHEMA)
    bare = report.as_json(report.ReportFacts((made.stage("train_save"),), facts.board, facts.toolchains))
    jsonschema.validate(json.loads(json.dumps(bare)), SCHEMA)
    assert [node["name"] for node in told["nodes"]][:3] == [made.SCRIPT, "conv0", "relu0"]
    assert told["nodes"][1]["constants"] == [{"name": "conv0/kernel", "shape": [1, 1, 4, 4]}]
    # An infinite SQNR has no number in JSON.
    assert [item["sqnr_db"] for item in told["tensors"]] == [10.0, None, 30.0, None, 31.0, None, 32.0]
    assert [item["node"] for item in told["tensors"]][:3] == [made.SCRIPT, "conv0/kernel", "relu0"]
    assert told["settings"] == {"seed": 7, "calibration": {"count": 2}, "graph": {"inputs": {made.IMAGE: made.SCRIPT}}}


def test_the_same_facts_give_the_same_bytes(facts, page):
    assert report.page(facts) == page
    later = tuple({**item, "seconds": 9.0} for item in facts.stages)
    again = json.dumps({**report.as_json(changed(facts, stages=later)), "stages": []})
    assert again == json.dumps({**report.as_json(facts), "stages": []})


def test_ready(facts):
    assert verdict_of(quiet(facts)) == {
        "state": "ready",
        "reasons": [],
        "notes": [f"the host's CPU computes {made.IMAGE}"],
    }
    assert "**Ready for ZCU104**" in report.render(quiet(facts))


def test_what_is_to_be_looked_at(facts):
    found = verdict_of(facts)
    assert found["state"] == "look"
    assert found["reasons"] == ["the quantizer changes the graph unsaid: pool_scale", "warnings of keras_2_tf"]
    told = report.as_json(quiet(facts))
    losing = {**told["accuracy"], "vendor": made.accuracy(0.8)}
    from dnndk_prep.report.verdict import verdict

    assert verdict(told | {"accuracy": losing})["reasons"] == ["vendor int8 loses 10.00 points of top-1"]
    # What is best goes to the board.
    assert verdict(told | {"accuracy": losing | {"best": made.accuracy(0.899)}})["state"] == "ready"


@pytest.mark.parametrize(
    ("name", "warnings", "reason"),
    [
        ("export", [], "no bundle was written for the board"),
        ("quantize", ["not quantized: an op that it does not know"], "not quantized: an op that it does not know"),
    ],
)
def test_a_stage_that_left_out_what_the_board_needs_stops_it(facts, name, warnings, reason):
    empty = made.stage(name, {"bundles": [], "fix_neurons": 0}, warnings=warnings)
    stages = tuple(empty if item["stage"] == name else item for item in quiet(facts).stages)
    found = verdict_of(changed(quiet(facts), stages=stages))
    assert found["state"] == "stopped"
    assert found["reasons"][0] == reason


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["x"], "input at x: NHWC; found NCHW"),
        (["x", "conv0", "relu0", "prob"], "no node runs on the DPU of dnndk-3.1"),
    ],
)
def test_an_input_to_mend_and_an_idle_dpu_stop_it(facts, names, reason):
    limit = {"placement": "cpu", "limit": "NHWC", "value": "NCHW", "remedy": "transpose", "rule": "input"}
    of = made.network(1)
    checks = {"dnndk-3.1": made.check(of, **dict.fromkeys(names, limit))}
    facts = changed(quiet(facts), network=of, checks=checks)
    assert verdict_of(facts)["state"] == "stopped"
    assert reason in verdict_of(facts)["reasons"]
    assert "Not ready for ZCU104" in report.page(facts)


def test_findings_are_told_once_with_their_nodes_and_the_worst_first(facts):
    checks = {name: {**item, "findings": []} for name, item in facts.checks.items()}
    for name, nodes in zip(made.TOOLCHAINS, (["relu0"], ["relu0", "relu1"]), strict=True):
        checks[name]["findings"] = [made.finding(node, what=f"at {node}") for node in nodes]
    first, second = report.as_json(changed(facts, checks=checks))["findings"]
    assert (first["level"], first["nodes"], first["toolchains"]) == (
        "warning",
        ["relu0", "relu1"],
        list(made.TOOLCHAINS),
    )
    assert first["fix"] == "optimize_for_inference.fixes: [later_output], which keeps the numbers"
    assert (second["level"], second["name"]) == ("cpu", "softmax")


def test_markup_in_names_stays_text(page):
    elements = Elements(page)
    names = [name for name, _ in elements.found]
    # The data, and the page's own code.
    assert names.count("script") == 2
    assert all(src.startswith("data:image/") for name, at in elements.found if name == "img" and (src := at["src"]))
    assert names.count("img") == 2
    assert not any(attr.startswith("on") for _, at in elements.found for attr in at)
    assert sum(made.IMAGE in text for text in elements.texts) >= 3
    (data,) = re.findall(r'<script type="application/json" id="facts">(.*?)</script>', page, re.DOTALL)
    assert json.loads(data)["nodes"][0]["name"] == made.SCRIPT


def test_markup_in_the_plot_stays_text_and_a_dollar_is_one(facts):
    of = [
        {**made.fix_neuron(name, "aquant", []), "sqnr_db": 10.0, "cumulative_sqnr_db": None} for name in ("<b>$x$", "y")
    ]
    plot = layer_errors(of)
    assert plot is not None
    assert "&lt;b&gt;$x$" in plot
    assert "<b>" not in plot
    assert layer_errors([]) is None


def test_only_the_report_draws():
    drawing = {name for name in NAMES if "dnndk_prep.report.plots" in imported_by(f"dnndk_prep.stages.{name}")}
    assert drawing == {"report"}


def test_nothing_is_loaded_and_no_other_script_runs(page):
    (policy,) = [at["content"] for name, at in Elements(page).found if at.get("http-equiv")]
    assert re.fullmatch(
        r"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-[\w+/]+='", policy
    )


def test_what_int8_changes_and_how_the_best_was_found(facts):
    stages = list(facts.stages)
    quantized = stages[4]["facts"]
    better = {**quantized, "accuracy": {**quantized["accuracy"], "best": made.accuracy(0.8985)}, "best": made.best()}
    stages[4] = {**stages[4], "facts": better}
    facts = changed(facts, stages=tuple(stages))
    text = " ".join(" ".join(Elements(report.page(facts)).texts).split())
    assert re.search(r"int8, the vendor's choice\s+89.50 %\s+\(-0.50\)", text)
    assert re.search(r"int8, the best found\s+89.85 %\s+\(-0.15\)", text)
    assert "is 0.0123 by the vendor's choices and 0.00456 by these" in text
    assert "conv0 learned 0.02 0.0123 +38.5" in text
    assert "| `conv0` | learned | 0.02 | 0.0123 | +38.5 % |" in report.render(facts)


def test_a_page_of_almost_nothing(facts):
    bare = report.ReportFacts((made.stage("train_save"),), facts.board, facts.toolchains)
    text = report.page(bare)
    assert "Not ready for ZCU104" in text
    assert 'id="canvas"' not in text
