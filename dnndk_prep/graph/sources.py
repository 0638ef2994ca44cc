"""Reads a graph from a file of any kind: GraphDef, MetaGraphDef or SavedModel, binary or text.

The message is parsed and nothing more: no loader of TensorFlow's sees the file, since those run what is in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf import text_format  # type: ignore[import-untyped]
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.core.framework.types_pb2 import DT_INVALID, DataType
from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef, SignatureDef
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from dnndk_prep.errors import ModelFileError, UsageError, nearest
from dnndk_prep.graph.freeze import VARIABLES
from dnndk_prep.graph.kinds import GRAPH, META, GraphFile, graph_file
from dnndk_prep.graph.topology import by_name, node_of
from dnndk_prep.wire import MAX_BYTES

DEFAULT_SIGNATURE = "serving_default"
PLACEHOLDERS, TYPES = ("Placeholder", "PlaceholderWithDefault"), frozenset(DataType.values()) - {DT_INVALID}
# What hands the value of RestoreV2 on to the op that writes the variable.
ON_THE_WAY = ("Identity", "Reshape", "Cast")


@dataclass(frozen=True)
class SavedKey:
    """Where a checkpoint keeps a variable: its key, and for a part of a variable TensorFlow's words for the part."""

    key: str
    part: str = ""

    def of(self, value: np.ndarray) -> np.ndarray:
        """The part: `4 3 0,2:-` is rows 0 and 1 of a 4 x 3 array. Raises ModelFileError for words of another form."""
        if not self.part:
            return value
        try:
            words = self.part.split()[-1].split(":")
            bounds = [None if word == "-" else tuple(map(int, word.split(","))) for word in words]
            return value[tuple(slice(None) if pair is None else slice(pair[0], sum(pair)) for pair in bounds)]
        except (ValueError, IndexError) as error:
            raise ModelFileError(f"the graph reads an unknown part of {self.key}", found=self.part) from error


@dataclass(frozen=True)
class GraphSource:
    """A graph as its file has it, with what the file tells of its ends and of its variables.

    inputs, outputs: the tensors of the signature (`x:0`) by its keys; empty where there is none. keys: by the
    variable's node. checkpoint: the prefix of the files that hold the variables, if they lie where they belong.
    of_keras_3: it is known that Keras 3 named the nodes.
    """

    file: str
    kind: str
    graph_def: GraphDef
    inputs: Mapping[str, str] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    keys: Mapping[str, SavedKey] = field(default_factory=dict)
    checkpoint: Path | None = None
    signatures: Mapping[str, Sequence[str]] = field(default_factory=dict)
    of_keras_3: bool = False


def read_source(path: Path, tag: str | None = None, signature: str | None = None) -> GraphSource:
    """The graph in the file, or in the SavedModel folder, at `path`.

    A SavedModel may hold several graphs (`tag` names one) with several signatures each. Raises ModelFileError where the
    file is none, is cut short or is no sound graph; UsageError where tag or signature name nothing.
    """
    found = graph_file(path)
    if found is None:
        raise ModelFileError(
            f"{path} is no TensorFlow graph" if path.exists() else f"{path}: there is no such file or folder",
            expected="a GraphDef (.pb, .pbtxt), a MetaGraphDef (.meta) or a SavedModel folder",
            remedy="check the path",
        )
    if found.kind == GRAPH:
        graph_def = _parsed(found, GraphDef)
        source = GraphSource(str(path), GRAPH, graph_def)
    else:
        meta = _parsed(found, MetaGraphDef) if found.kind == META else _chosen(_parsed(found, SavedModel), found, tag)
        source = _of_meta(meta, found, signature)
    _check_structure(source)
    return source


def _of_meta(meta: MetaGraphDef, found: GraphFile, wanted: str | None) -> GraphSource:
    signature = _signature(meta, found, wanted)
    signatures = {
        name: [*sorted(one.inputs), "->", *sorted(one.outputs)] for name, one in sorted(meta.signature_def.items())
    }
    return GraphSource(
        str(found.path if found.kind == META else found.path.parent),
        found.kind,
        meta.graph_def,
        {} if signature is None else {key: signature.inputs[key].name for key in _in_order(signature.inputs)},
        {} if signature is None else {key: signature.outputs[key].name for key in _in_order(signature.outputs)},
        saved_keys(meta.graph_def),
        found.variables,
        signatures,
    )


def _parsed(found: GraphFile, message: Any) -> Any:
    size = found.path.stat().st_size
    if size > MAX_BYTES:
        raise ModelFileError(
            f"{found.path} is larger than any protobuf file",
            expected=f"at most {MAX_BYTES} bytes",
            found=f"{size} bytes",
            remedy="keep the weights in a checkpoint beside the graph, and give both",
        )
    try:
        if not found.is_text:
            return message.FromString(found.path.read_bytes())
        return text_format.Parse(found.path.read_text(encoding="utf-8"), message())
    # DecodeError, ParseError, UnicodeDecodeError and RecursionError have no other base in common.
    except Exception as error:
        lines = [*str(error).strip().splitlines(), ""]
        raise ModelFileError(
            f"{found.path} cannot be read as a TensorFlow graph",
            expected=f"a whole {message.__name__}{' in text form' if found.is_text else ''}",
            found=f"{type(error).__name__}: {lines[0][:200]} ({size} bytes)",
            remedy="copy the file again (it may be cut short), or export the graph again",
        ) from error


def _chosen(saved: SavedModel, found: GraphFile, tag: str | None) -> MetaGraphDef:
    """The graph with the tag; without one, the only graph, or the one to serve."""
    tags = [",".join(meta.meta_info_def.tags) for meta in saved.meta_graphs]
    wanted = tag or (tags[0] if len(tags) == 1 else "serve")
    for meta, name in zip(saved.meta_graphs, tags, strict=True):
        if set(name.split(",")) == set(wanted.split(",")):
            return meta
    if not tags:
        raise ModelFileError(f"{found.path} holds no graph", expected="a SavedModel with a graph", found="none")
    raise UsageError(
        f"{found.path.parent} has no graph with the tag {wanted}",
        expected=", ".join(tags),
        found=wanted,
        remedy="set model.tag",
    )


def _signature(meta: MetaGraphDef, found: GraphFile, wanted: str | None) -> SignatureDef | None:
    names = sorted(name for name, one in meta.signature_def.items() if one.outputs and one.inputs)
    if wanted is None:
        if DEFAULT_SIGNATURE in names:
            return meta.signature_def[DEFAULT_SIGNATURE]
        return meta.signature_def[names[0]] if len(names) == 1 else None
    if wanted not in names:
        raise UsageError(
            f"{found.path} has no signature {wanted}",
            expected=", ".join(names) or "a file with signatures",
            found=wanted,
            remedy=f"did you mean {nearest(wanted, names)[0]}?" if nearest(wanted, names) else "leave it out",
            code="K2D-0019",
        )
    return meta.signature_def[wanted]


def _in_order(keys: Mapping[str, object]) -> list[str]:
    """A signature has no order of its own; output_10 stands after output_9."""
    return sorted(keys, key=lambda key: (key.rstrip("0123456789"), len(key), key))


def saved_keys(graph_def: GraphDef) -> dict[str, SavedKey]:
    """Where a checkpoint keeps each variable, told by the graph's own restoring part, which is read and never run.

    TensorFlow 1 restores by nodes (RestoreV2 -> Assign), TensorFlow 2 in a function that gets the variables. A graph
    without such a part keeps its variables under their names.
    """
    nodes = by_name(graph_def)
    result = {
        name: SavedKey(
            (node.attr["shared_name"].s.decode(errors="replace") if "shared_name" in node.attr else "") or name
        )
        for name, node in nodes.items()
        if node.op in VARIABLES
    }
    result.update((node_of(variable), key) for variable, key in _restored(nodes))
    for function in graph_def.library.function:
        inner = {node.name: node for node in function.node_def}
        if any(node.op == "RestoreV2" for node in inner.values()):
            arguments = [argument.name for argument in function.signature.input_arg]
            keys = dict(_restored(inner))
            for call in graph_def.node:
                if call.attr["f"].func.name == function.signature.name if "f" in call.attr else False:
                    given = dict(zip(arguments, call.input, strict=False))
                    result.update((node_of(given[name]), key) for name, key in keys.items() if name in given)
    return {name: key for name, key in result.items() if name in nodes}


def _restored(nodes: Mapping[str, NodeDef]) -> Iterator[tuple[str, SavedKey]]:
    """Every variable (or argument of the function) that a value of RestoreV2 is assigned to, with its key."""
    for node in nodes.values():
        if node.op not in ("Assign", "AssignVariableOp") or len(node.input) < 2:
            continue
        value = node.input[1]
        while node_of(value) in nodes and nodes[node_of(value)].op in ON_THE_WAY:
            value = nodes[node_of(value)].input[0]
        restore = nodes.get(node_of(value))
        if restore is None or restore.op != "RestoreV2":
            continue
        number = value.rpartition(":")[2]
        keys, parts = (_words(nodes.get(node_of(name))) for name in restore.input[1:3])
        i = int(number) if number.isdigit() else 0
        if i < len(keys):
            yield node.input[0], SavedKey(keys[i], parts[i] if i < len(parts) else "")


def _words(node: NodeDef | None) -> list[str]:
    if node is None or node.op != "Const":
        return []
    value = node.attr["value"].tensor
    return [word.decode(errors="replace") for word in tf.make_ndarray(value).reshape(-1)]


def _check_structure(source: GraphSource) -> None:
    """What every walk over the graph rests on: names once, and no input that is not there."""
    problem = None
    nodes = by_name(source.graph_def)
    if not nodes:
        problem = "no nodes"
    elif len(nodes) != len(source.graph_def.node):
        problem = "two nodes of one name"
    else:
        problem = next(filter(None, (_problem(node, nodes) for node in source.graph_def.node)), None)
    if problem:
        raise ModelFileError(
            f"{source.file} is no whole graph",
            expected="a GraphDef in which every input is a node",
            found=problem,
            remedy="export the graph again",
        )


def _problem(node: NodeDef, nodes: Mapping[str, NodeDef]) -> str | None:
    if not node.name or ":" in node.name or node.name.startswith("^"):
        return f"a node with the name {node.name!r}, which tensors cannot be called by"
    missing = next((name for name in node.input if node_of(name) not in nodes), None)
    if missing is not None:
        return f"the node {node.name!r}, which reads {missing!r}, and that is not there"
    if node.op in PLACEHOLDERS and node.attr["dtype"].type not in TYPES:
        return f"the placeholder {node.name!r} without a type that TensorFlow knows"
    return None
