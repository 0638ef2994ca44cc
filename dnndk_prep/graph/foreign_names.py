"""Names that a person reads, for a graph that others made: without the calls and the scope that nodes were in."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from tensorflow.core.framework.graph_pb2 import GraphDef

from dnndk_prep.graph.freeze import VARIABLES
from dnndk_prep.graph.names import VALID_NAME, Found
from dnndk_prep.graph.sources import GraphSource
from dnndk_prep.graph.topology import node_of

CALL = re.compile(r"(Stateful)?PartitionedCall(_\d+)?|Func")


def new_names_of(
    graph_def: GraphDef,
    real: Sequence[str],
    source: GraphSource,
    inputs: Sequence[Found],
    outputs: Sequence[Found],
    ends: Sequence[str],
) -> dict[str, str]:
    """New names for the nodes of `graph_def`, old to new, where a plainer one is free.

    `real` are the nodes of the outputs, and `ends` the nodes of our own that stand for those without one.
    """
    taken = {node.name for node in graph_def.node}
    result: dict[str, str] = {}

    def take(old: str, new: str) -> None:
        if new != old and new not in taken and VALID_NAME.fullmatch(new):
            taken.add(new)
            result[old] = new

    keys = {node_key(name): key for key, name in source.inputs.items()}
    for found in inputs:
        node = node_key(found.name)
        if node in keys and source.graph_def.library.function:
            # TensorFlow 2 calls it serving_default_image, and the signature image.
            take(node, keys[node])
    for end, found in zip(ends, outputs, strict=True):
        if end in real:
            key = next((key for key, name in source.outputs.items() if name == found.name), None)
            take(end, key or f"{node_of(found.name)}_output" + found.name.partition(":")[2])
    plain = {node.name: _without_calls(node.name) for node in graph_def.node if node.name not in result}
    if source.graph_def.library.function:
        plain = _without_scope(graph_def, plain)
    for old, new in plain.items():
        take(old, new)
    return result


def _without_scope(graph_def: GraphDef, names: Mapping[str, str]) -> dict[str, str]:
    """The names without the scope of the whole model (`functional_1/`), where all that is computed lies in one."""
    computed = [node.name for node in graph_def.node if node.op not in ("Const", "Placeholder", "NoOp", *VARIABLES)]
    scopes = {names[name].partition("/")[0] for name in computed if name in names and "/" in names[name]}
    if len(scopes) != 1 or any("/" not in names[name] for name in computed if name in names):
        return dict(names)
    (scope,) = scopes
    return {old: new.removeprefix(f"{scope}/") for old, new in names.items()}


def _without_calls(name: str) -> str:
    parts = name.split("/")
    while len(parts) > 1 and CALL.fullmatch(parts[0]):
        parts.pop(0)
    return "/".join(parts)


def node_key(tensor: str) -> str:
    """A tensor by its node, where it is the first."""
    return tensor.removesuffix(":0")
