"""All that the report tells, as one value ready for JSON: what schema.json describes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from dnndk_prep.report.facts import ReportFacts
from dnndk_prep.report.findings import findings
from dnndk_prep.report.nodes import nodes, tensors
from dnndk_prep.report.verdict import verdict

VERSION = 1
# The graphs whose accuracy is told, by the stage that measures it.
FLOAT_GRAPHS = {"keras_2_tf": "float", "freeze_graph": "frozen", "optimize_for_inference": "optimized"}
QUANTIZED = ("vendor", "best")


# What stage.json holds for the next run: what decides whether the stage is fresh, and the hash of stage.json itself.
OF_RUNS = ("fingerprint", "sha256")


def as_json(facts: ReportFacts) -> dict[str, Any]:
    """The report for programs; the same for the same facts, apart from the stages' seconds."""
    told: dict[str, Any] = {
        "version": VERSION,
        "model": model_name(facts),
        "board": facts.board.name,
        "toolchains": [toolchain.name for toolchain in facts.toolchains],
        "stages": [{key: value for key, value in stage.items() if key not in OF_RUNS} for stage in facts.stages],
        "accuracy": dict(_accuracy(facts)),
        "placement": [_placement(name, check) for name, check in facts.checks.items()],
        "findings": findings(facts.checks),
        "warnings": [{"stage": item["stage"], "text": text} for item in facts.stages for text in item["warnings"]],
        "nodes": nodes(facts),
        "tensors": tensors(facts),
        "calibration": dict(calibration) if (calibration := facts.of("calib_input")).get("count") else None,
        "settings": settings(facts),
        "files": _files(facts),
        "versions": dict(sorted({item for stage in facts.stages for item in stage["versions"].items()})),
    }
    return told | {"verdict": verdict(told)}


def model_name(facts: ReportFacts) -> str:
    """What the bundles, or else the user's file, call the model."""
    bundles = facts.of("export").get("bundles") or ()
    names = [item["net_name"] for item in bundles] + [
        name for key, name in facts.names.items() if key in ("model.path", "model.architecture")
    ]
    return names[0] if names else "model"


def settings(facts: ReportFacts) -> dict[str, Any]:
    """Every key of the YAML that a result depends on, defaults filled in; of a file its name."""
    flat: dict[str, Any] = {}
    for stage in facts.stages:
        made_from = stage.get("fingerprint", {})
        # Whether a model was given is seen from its path.
        flat |= {key: value for key, value in made_from.get("config", {}).items() if key != "model.given"}
    flat |= facts.names
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        section, _, name = key.partition(".")
        if name:
            nested.setdefault(section, {})[name] = value
        else:
            nested[key] = value
    # What stands alone first, as in the file.
    return dict(sorted(nested.items(), key=lambda item: isinstance(item[1], dict)))


def settings_yaml(told: Mapping[str, Any]) -> str:
    """The settings as YAML."""
    return yaml.safe_dump(told["settings"], sort_keys=False, allow_unicode=True, width=100)


def _accuracy(facts: ReportFacts) -> Iterator[tuple[str, Any]]:
    """The accuracy of each graph that has one, or the reason why it has none."""
    for stage, name in FLOAT_GRAPHS.items():
        if found := (facts.of(stage).get("proof") or {}).get("accuracy"):
            yield name, found
    measured = facts.of("quantize").get("accuracy") or {}
    for name in QUANTIZED:
        if name in measured:
            yield name, measured[name]


def _placement(name: str, check: Mapping[str, Any]) -> dict[str, Any]:
    counts = {"dpu": 0, "cpu": 0, "folded": 0}
    for node in check["nodes"]:
        counts[node["placement"]] += 1
    return {"toolchain": name, "target": check["target"], "nodes": counts, "subgraphs": check["subgraphs"]}


def _files(facts: ReportFacts) -> list[dict[str, Any]]:
    """The files from outside that results depend on, by the key that leads to them."""
    found = {key: sha for stage in facts.stages for key, sha in stage.get("fingerprint", {}).get("files", {}).items()}
    return [{"key": key, "name": facts.names.get(key), "sha256": sha} for key, sha in sorted(found.items())]
