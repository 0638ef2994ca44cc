"""A graph that others made, as the inference graph of the model in it: its ends found, and what training added cut."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.errors import ModelFileError, StageError
from dnndk_prep.graph.artifact import TensorSpec
from dnndk_prep.graph.foreign_names import END, layers_of, new_names_of, node_key
from dnndk_prep.graph.freeze import VARIABLES, prune
from dnndk_prep.graph.names import Found, rename
from dnndk_prep.graph.rewrites.cut_switches import cut_switches
from dnndk_prep.graph.rewrites.fuse_batch_norms import fuse_batch_norms
from dnndk_prep.graph.rewrites.inference_batch_norms import average_variables, inference_batch_norms
from dnndk_prep.graph.rewrites.inline_functions import inline_functions
from dnndk_prep.graph.rewrites.mend_handles import mend_handles
from dnndk_prep.graph.rewrites.products_of_rows import products_of_rows
from dnndk_prep.graph.rewrites.products_with_one import products_with_one
from dnndk_prep.graph.rewrites.remove_dropout import remove_dropout
from dnndk_prep.graph.rewrites.repeats_to_resize import repeats_to_resize
from dnndk_prep.graph.rewrites.set_constants import set_constants
from dnndk_prep.graph.rewrites.tensor_arrays import tensor_arrays
from dnndk_prep.graph.rewrites.vector_biases import vector_biases
from dnndk_prep.graph.run import imported
from dnndk_prep.graph.safety import refuse_unsafe
from dnndk_prep.graph.sources import GraphSource
from dnndk_prep.graph.topology import by_name, node_of
from dnndk_prep.graph.wanted import Shape, Wanted, chosen_constants, chosen_ends
from dnndk_prep.said import first_line

RANDOM = re.compile(r"^(Stateless)?(Random|TruncatedNormal|Multinomial)")
# Names of outputs that say nothing.
COUNTED = re.compile(r"output_\d+")
# What Keras 3 spells out in more nodes than Keras 2 has.
KERAS_3_SPELLINGS = (vector_biases, fuse_batch_norms, repeats_to_resize, products_of_rows, products_with_one)
# Names of shares for dropout.
RANDOM_SHARE = re.compile(r"keep|drop", re.IGNORECASE)


@dataclass(frozen=True)
class ForeignGraph:
    """The graph as it came and as inference graph, with the same inputs and outputs in the same order.

    reference: the part that the outputs need, unchanged; it is fed by reference_inputs and `constants`, and fetched by
    reference_outputs. input_layers, output_layers: what a person calls the inputs and outputs: the signature's keys, or
    the layers. keys: the old names of the variables by the new ones.
    """

    reference: GraphDef
    reference_inputs: tuple[str, ...]
    reference_outputs: tuple[str, ...]
    constants: Mapping[str, np.ndarray]
    graph_def: GraphDef
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    input_layers: tuple[str, ...]
    output_layers: tuple[str, ...]
    found_inputs: tuple[Found, ...]
    found_outputs: tuple[Found, ...]
    keys: Mapping[str, str]
    notes: tuple[str, ...]


def foreign_graph(source: GraphSource, wanted: Wanted) -> ForeignGraph:
    """The inference graph in `source`.

    Raises UnsafeFileError before TensorFlow sees the graph, if it does more than compute; ModelFileError where
    TensorFlow refuses it; StageError for names that are not there, and for what has no form in inference.
    """
    inputs, outputs = chosen_ends(source, wanted)
    constants, reasons = chosen_constants(source.graph_def, wanted, inputs)
    whole = mend_handles(_fed_at(source, inputs, wanted.inputs), frozenset()).graph_def
    feeds, fetches = [node_key(found.name) for found in inputs], [node_key(found.name) for found in outputs]
    # In a graph of training, nothing that the outputs need reads the averages for inference.
    averages = average_variables(whole)
    part = prune(whole, [*feeds, *fetches, *averages])
    refuse_unsafe(part, source.file, [*feeds, *fetches])
    used = {name: value for name, value in constants.items() if name in by_name(part)}
    with refused_by_tensorflow(source.file):
        imported(part)
        plain, cut = _inference(part, feeds, fetches, used, averages)
    notes = [*cut.notes, *(f"{name} is set to {used[name].item()} ({reasons[name]})" for name in used)]
    reference, fixed = (plain, {}) if cut.notes else (part, used)
    _refuse_chance(plain, source.file)
    named = frozenset(map(node_key, (source.inputs.get(name, name) for name in wanted.inputs))) | frozenset(
        node_key(name) for name in wanted.outputs if name not in source.outputs
    )
    return _named(source, reference, plain, inputs, outputs, fixed, notes, named)


@contextmanager
def refused_by_tensorflow(file: str) -> Iterator[None]:
    """What TensorFlow says of a broken graph, as an error in the file."""
    try:
        yield
    except (ValueError, TypeError, KeyError, tf.errors.OpError) as error:
        raise ModelFileError(
            f"TensorFlow refuses the graph in {file}",
            expected=f"a graph that TensorFlow {tf.__version__} can import",
            found=first_line(error),
            remedy="export the graph again",
        ) from error


def variable_names(graph_def: GraphDef) -> list[str]:
    """The nodes of the variables."""
    return [node.name for node in graph_def.node if node.op in VARIABLES]


def _fed_at(source: GraphSource, inputs: Sequence[Found], shapes: Mapping[str, Shape | None]) -> GraphDef:
    """The graph with placeholders for its inputs: a node inside may be one, and one without a shape gets it."""
    result = GraphDef()
    result.CopyFrom(source.graph_def)
    nodes = by_name(result)
    given = {node_key(source.inputs.get(name, name)): shape for name, shape in shapes.items()}
    inner = [
        name for name in map(node_key, (found.name for found in inputs)) if not nodes[name].op.startswith("Placeholder")
    ]
    known = _inferred(source, inner) if inner else {}
    for found in inputs:
        node = nodes[node_key(found.name)]
        if node.name in known:
            spec = known[node.name]
            node.op = "Placeholder"
            del node.input[:]
            node.attr.clear()
            node.attr["dtype"].type = tf.as_dtype(spec.dtype).as_datatype_enum
            node.attr["shape"].shape.CopyFrom(tf.TensorShape(spec.shape).as_proto())
        if node.op == "PlaceholderWithDefault":
            node.op = "Placeholder"
            del node.input[:]
        if (shape := given.get(node.name)) is not None:
            node.attr["shape"].shape.CopyFrom(tf.TensorShape(shape).as_proto())
            node.attr.pop("_output_shapes", None)
    return result


def _inferred(source: GraphSource, names: Sequence[str]) -> dict[str, TensorSpec]:
    part = prune(source.graph_def, names)
    refuse_unsafe(part, source.file, names)
    with refused_by_tensorflow(source.file):
        return {spec.name: spec for spec in _specs(part, names, source.file)}


def _inference(
    part: GraphDef,
    feeds: Sequence[str],
    fetches: Sequence[str],
    constants: Mapping[str, np.ndarray],
    averages: Sequence[str],
) -> tuple[GraphDef, _Cut]:
    """The part with its flags set, its functions written out and its dead branches cut; then what only trains."""
    # The ends by nodes of their own: what is fetched may be a call that goes.
    ends = [_end(part, i) for i in range(len(fetches))]
    graph_def = set_constants(part, constants)
    dtypes = {tensor.name: tensor.dtype for op in imported(part).get_operations() for tensor in op.outputs}
    # TensorFlow writes a call out only where something waits for all that it does.
    calls = [f"^{node.name}" for node in part.node if node.op == "StatefulPartitionedCall"]
    for end, fetch in zip(ends, fetches, strict=True):
        node = graph_def.node.add(name=end, op="Identity", input=[fetch, *calls])
        node.attr["T"].type = dtypes[fetch if ":" in fetch else f"{fetch}:0"].as_datatype_enum
    keep = frozenset([*map(node_of, feeds), *ends])
    graph_def = inline_functions(graph_def, [*map(node_of, feeds), *ends, *averages])
    graph_def = prune(cut_switches(graph_def, keep).graph_def, [*keep, *averages])
    graph_def = tensor_arrays(graph_def, keep)
    dropped = remove_dropout(graph_def, keep)
    # Dropout that keeps everything changes no number: the graph as it came stays the reference.
    acting = dropped.notes if not any(RANDOM_SHARE.search(name) for name in constants) else ()
    normal = inference_batch_norms(dropped.graph_def, keep)
    graph_def = prune(normal.graph_def, [*feeds, *ends])
    for spelling in KERAS_3_SPELLINGS:
        graph_def = prune(spelling(graph_def, keep).graph_def, [*feeds, *ends])
    return graph_def, _Cut((*acting, *normal.notes), tuple(ends))


@dataclass(frozen=True)
class _Cut:
    notes: tuple[str, ...]
    ends: tuple[str, ...]


def _end(graph_def: GraphDef, i: int) -> str:
    taken, name = by_name(graph_def), f"{END}{i}"
    while name in taken:
        name += "_"
    return name


def _refuse_chance(graph_def: GraphDef, file: str) -> None:
    chance = next((node for node in graph_def.node if RANDOM.search(node.op)), None)
    if chance is not None:
        raise StageError(
            f"the outputs of {file} depend on chance: {chance.name} is {chance.op}",
            expected="a graph of inference",
            found=chance.op,
            remedy="export the graph with training=False, or set the flag in model.constants",
            code="K2D-0001",
        )


def _named(
    source: GraphSource,
    reference: GraphDef,
    plain: GraphDef,
    inputs: Sequence[Found],
    outputs: Sequence[Found],
    constants: Mapping[str, np.ndarray],
    notes: Sequence[str],
    named: frozenset[str],
) -> ForeignGraph:
    """The graph with names that a person reads: those of layers, without the calls they were in."""
    nodes = by_name(plain)
    ends = [node.name for node in plain.node if node.name.startswith(END)]
    ends.sort(key=lambda name: int(name.rstrip("_").rpartition("_")[2]))
    real: list[str] = []
    for end in ends:
        value = _value(nodes, end)
        # A second output of a node, a constant, an input, and what two outputs share keep a node of their own.
        own = ":" in value or value in real or nodes[value].op in ("Const", "Placeholder", *VARIABLES)
        real.append(end if own else value)
    bare = prune(plain, [*map(node_key, _names(inputs)), *real])
    new_names = new_names_of(bare, real, source, inputs, outputs, ends, named)
    graph_def = rename(bare, new_names)
    feeds = [new_names.get(name, name) for name in map(node_key, _names(inputs))]
    fetches = [new_names.get(name, name) for name in real]
    with refused_by_tensorflow(source.file):
        specs_in, specs_out = _specs(graph_def, feeds, source.file), _specs(graph_def, fetches, source.file, False)
    is_plain = reference is plain
    return ForeignGraph(
        reference=reference,
        reference_inputs=tuple(map(node_key, _names(inputs))),
        reference_outputs=tuple(ends) if is_plain else tuple(_names(outputs)),
        constants=constants,
        graph_def=graph_def,
        inputs=specs_in,
        outputs=specs_out,
        input_layers=_layers(source.inputs, inputs, graph_def, feeds),
        output_layers=_layers(source.outputs, outputs, graph_def, fetches),
        found_inputs=tuple(Found(new, _from(old, new)) for old, new in zip(inputs, feeds, strict=True)),
        found_outputs=tuple(Found(new, _from(old, new)) for old, new in zip(outputs, fetches, strict=True)),
        keys={new_names.get(name, name): name for name in variable_names(bare)},
        notes=tuple(notes),
    )


def _layers(
    keys: Mapping[str, str], found: Sequence[Found], graph_def: GraphDef, names: Sequence[str]
) -> tuple[str, ...]:
    """What a person calls the ends: the signature's keys, unless these only count (output_0), or the layers."""
    told = {node_key(tensor): key for key, tensor in keys.items() if not COUNTED.fullmatch(key)}
    nodes = by_name(graph_def)
    layers = layers_of([nodes[name] for name in names])
    result = [told.get(node_key(one.name), layer) for one, layer in zip(found, layers, strict=True)]
    return tuple(result) if len(set(result)) == len(result) else tuple(names)


def _value(nodes: Mapping[str, NodeDef], end: str) -> str:
    """The tensor whose value `end` passes on, through every Identity."""
    name = end
    while (node := nodes[node_of(name)]).op in ("Identity", "StopGradient", "PreventGradient", "Snapshot") or (
        node.op == "IdentityN"
    ):
        data = [given for given in node.input if not given.startswith("^")]
        name = data[int(name.partition(":")[2] or 0)] if node.op == "IdentityN" else data[0]
    return name.removesuffix(":0")


def _from(found: Found, name: str) -> str:
    return found.reason if node_key(found.name) == name else f"{found.name} in the file, {found.reason}"


def _names(found: Sequence[Found]) -> list[str]:
    return [one.name for one in found]


def _specs(graph_def: GraphDef, names: Sequence[str], file: str, fed: bool = True) -> tuple[TensorSpec, ...]:
    graph = imported(graph_def)
    specs = []
    for name in names:
        tensor = graph.get_tensor_by_name(f"{name}:0")
        if tensor.shape.rank is None and fed:
            raise StageError(
                f"the input {name} of {file} has no known shape",
                expected="a placeholder with a shape",
                found="a shape of unknown rank",
                remedy=f"give it: model.inputs: {{{name}: [null, 224, 224, 3]}}",
            )
        shape = tuple(tensor.shape.as_list()) if tensor.shape.rank is not None else ()
        specs.append(TensorSpec(name, shape, tensor.dtype.base_dtype.name))
    return tuple(specs)
