"""The JSON schema of pipeline.yaml, by which an editor completes keys and marks mistakes while they are typed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dnndk_prep.config import Config

FILE = "pipeline.schema.json"
# The first line of a YAML by which yaml-language-server (the YAML extension of VS Code, and other editors) finds the
# schema: a path relative to the YAML, so that it works without a network.
MODELINE = f"# yaml-language-server: $schema={FILE}"


def schema() -> dict[str, Any]:
    """The schema, in the words of draft 7: that is the one which every editor knows.

    Rules between two keys are left to `dnndk-prep check`, but for those that the draft can say.
    """
    made = _plain(Config.model_json_schema())
    sections = made.pop("$defs")
    properties = {name: _section(item, sections) for name, item in made.pop("properties").items()}
    sections["ModelSection"]["dependencies"] = {"architecture": ["weights"], "weights": ["architecture"]}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "pipeline.yaml of dnndk-prep",
        **made,
        "properties": properties,
        "definitions": sections,
    }


def keys_of(name: str, whole: Mapping[str, Any]) -> dict[str, Any] | None:
    """The keys of the section `name` with their schemas; None where it is no section but a key."""
    parts = whole["properties"][name].get("anyOf", [])
    reference = next((part["$ref"] for part in parts if "$ref" in part), None)
    return None if reference is None else whole["definitions"][reference.rpartition("/")[2]]["properties"]


def _section(item: dict[str, Any], sections: Mapping[str, Any]) -> dict[str, Any]:
    """A section may also be empty: `model:` with all its keys commented out."""
    if "$ref" not in item:
        return item
    name = item["$ref"].rpartition("/")[2]
    about = {"description": sections[name]["description"], "default": {}}
    return {"anyOf": [{"$ref": f"#/definitions/{name}"}, {"type": "null"}], **about}


def _plain(value: Any) -> Any:
    """Without pydantic's titles, which repeat the key, and its formats of paths, which no editor knows."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {name: _plain(item) for name, item in value.items() if not _is_noise(name, item)}
    if "prefixItems" in kept:
        # Draft 7 has another word; the tuples of a fixed length here are numbers of one kind.
        kept["items"] = kept.pop("prefixItems")[0]
    return kept


def _is_noise(name: str, item: Any) -> bool:
    return (name == "title" and isinstance(item, str)) or (name == "format" and item == "path")
