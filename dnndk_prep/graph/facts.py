"""What a TensorFlow graph holds, told without running anything of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef

from dnndk_prep.errors import ModelFileError, StageError
from dnndk_prep.graph.ends import find_constants, find_inputs, find_outputs, without_flags
from dnndk_prep.graph.fix_neurons import without_fix_neurons
from dnndk_prep.graph.kinds import GRAPH, META
from dnndk_prep.graph.names import Found
from dnndk_prep.graph.rewrites.mend_handles import mend_handles
from dnndk_prep.graph.run import imported
from dnndk_prep.graph.safety import ops as listed
from dnndk_prep.graph.safety import tainted, unsafe_nodes
from dnndk_prep.graph.sources import GraphSource, read_source

KINDS = {GRAPH: "GraphDef", META: "MetaGraphDef with a Saver", "saved_model": "SavedModel"}
UNKNOWN = "?"


@dataclass(frozen=True)
class OpFacts:
    """One op: what it gives as dtype and shape, `?` where that is not told without running."""

    name: str
    op: str
    outputs: tuple[str, ...]
    function: str = ""


@dataclass(frozen=True)
class GraphFacts:
    """What `inspect` shows of a graph.

    unsafe: why it would be refused, by the node. idle: how many ops are there for saving and training, and are not run.
    """

    file: str
    kind: str
    producer: int
    inputs: tuple[Found, ...]
    outputs: tuple[Found, ...]
    constants: tuple[Found, ...]
    signatures: dict[str, str]
    unsafe: dict[str, str]
    idle: int
    counts: dict[str, int]
    ops: tuple[OpFacts, ...]

    def as_dict(self) -> dict[str, Any]:
        """The facts as plain values, for JSON."""
        return asdict(self)

    def as_text(self) -> str:
        """The facts as lines for people."""
        lines = [f"file:        {self.file}", f"kind:        {self.kind}, written at version {self.producer}"]
        for title, found in (("input", self.inputs), ("output", self.outputs), ("in training", self.constants)):
            lines += [f"{title + ':':<13}{one.name}  ({one.reason})" for one in found]
        lines += [f"signature:   {name}: {text}" for name, text in self.signatures.items()]
        lines += [f"refused:     {name} is {op}: this graph is not run" for name, op in self.unsafe.items()]
        lines += [f"not run:     {self.idle} ops of saving and training"] if self.idle else []
        lines += [f"ops:         {', '.join(f'{count} {op}' for op, count in self.counts.items())}", ""]
        rows = [
            ("op", "type", "gives"),
            *((_place(one), one.op, ", ".join(one.outputs) or "nothing") for one in self.ops),
        ]
        widths = [max(len(row[i]) for row in rows) for i in range(2)]
        return "\n".join([*lines, *(f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c}".rstrip() for a, b, c in rows)])


def inspect_graph(path: Path, tag: str | None = None) -> GraphFacts:
    """The facts of a .pb, .pbtxt, .meta or SavedModel. Raises ModelFileError where the file is none of them.

    Shapes are those that TensorFlow infers. An op that may not run, and all that depends on it, is listed without: to
    infer shapes, TensorFlow computes what it can.
    """
    source = read_source(path, tag)
    plain = _plain(source)
    not_run = unsafe_nodes(plain)
    unsafe = {name: op for name, op in not_run.items() if op not in listed("idle")}
    outputs = _outputs(plain, tainted(plain, not_run))
    ops = [OpFacts(node.name, node.op, outputs.get(node.name, (UNKNOWN,))) for node in source.graph_def.node]
    ops += [
        OpFacts(node.name, node.op, (UNKNOWN,), function.signature.name)
        for function in source.graph_def.library.function
        for node in function.node_def
    ]
    inputs, found = _ends(source)
    constants = [Found(name, reason) for name, (_, reason) in find_constants(source.graph_def).items()]
    return GraphFacts(
        file=str(path),
        kind=KINDS[source.kind],
        producer=source.graph_def.versions.producer,
        inputs=tuple(inputs),
        outputs=tuple(found),
        constants=tuple(constants),
        signatures={name: " ".join(words) for name, words in source.signatures.items()},
        unsafe=unsafe,
        idle=len(not_run) - len(unsafe),
        counts=dict(Counter(one.op for one in ops).most_common()),
        ops=tuple(ops),
    )


def _ends(source: GraphSource) -> tuple[list[Found], list[Found]]:
    if source.outputs:
        told = without_flags(source.graph_def, source.inputs)
        inputs = [Found(name, f"the signature's input {key!r}") for key, name in told.items()]
        return inputs, [Found(name, f"the signature's output {key!r}") for key, name in source.outputs.items()]
    inputs = find_inputs(source.graph_def)
    try:
        return inputs, find_outputs(source.graph_def)
    except StageError:
        # A graph without an input has nothing that could be called its output; it is listed all the same.
        return inputs, []


def _plain(source: GraphSource) -> GraphDef:
    """The graph in ops that TensorFlow has, for its shapes; the graph itself where a FixNeuron has no such form."""
    try:
        return without_fix_neurons(source.graph_def, source.file)
    except ModelFileError:
        return source.graph_def


def _outputs(graph_def: GraphDef, without: set[str]) -> dict[str, tuple[str, ...]]:
    """dtype and shape of every output of the nodes that are not in `without`."""
    part = GraphDef(versions=graph_def.versions, library=graph_def.library)
    part.node.extend(node for node in graph_def.node if node.name not in without)
    for node in part.node:
        # Colocation with a node that is left out.
        node.attr.pop("_class", None)
    try:
        operations = imported(mend_handles(part, frozenset()).graph_def).get_operations()
    except (ValueError, TypeError, tf.errors.OpError):
        return {}
    return {op.name: tuple(f"{t.dtype.name} {_sizes(t.shape)}" for t in op.outputs) for op in operations}


def _sizes(shape: tf.TensorShape) -> str:
    if shape.rank is None:
        return "of unknown shape"
    return f"[{', '.join('?' if size is None else str(size) for size in shape)}]"


def _place(one: OpFacts) -> str:
    return f"{one.name} (in {one.function})" if one.function else one.name
