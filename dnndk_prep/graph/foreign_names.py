"""Names that a person reads, for a graph that others made: those of layers, without the calls and scopes around them.

Given:  StatefulPartitionedCall/functional_1/conv1_1/convolution        Result: conv1/Conv2D
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.graph.freeze import VARIABLES
from dnndk_prep.graph.names import VALID_NAME, Found
from dnndk_prep.graph.sources import GraphSource
from dnndk_prep.graph.topology import node_of

CALL = re.compile(r"(Stateful)?PartitionedCall(_\d+)?|Func")
# How Keras calls the scope of a whole model that nobody gave a name.
MODEL_SCOPE = re.compile(r"(model|functional|sequential)(_\d+)?")
NUMBERED = re.compile(r"(.+)_(\d+)")
# Keras 3 alone writes these ops of a layer so. So did the Keras of TensorFlow 1, whose graphs are below this version.
KERAS_3_PRODUCER = 1000
KERAS_3 = re.compile(
    r"(^|/)(convolution|conv_transpose|MaxPool2d)(_\d+)?(/|$)|^([^/]+_\d+/)+(Cast|Reshape)(_\d+)?/ReadVariableOp"
)
# Its words for ops, in those that Keras 2 takes; a convolution is called after its op.
RESPELLED = {"conv_transpose": "conv2d_transpose", "MaxPool2d": "MaxPool"}
# Names that TensorFlow gives ops by itself where these are not the op's own.
OWN_WORDS = ("add", "sub", "mul", "concat", "depthwise", "separable_conv2d", "conv2d_transpose", "truediv")
# What the nodes of our own are called that stand for outputs, until they have names.
END = "dnndk_prep_end_"
NOT_COMPUTED = ("Const", "Placeholder", "NoOp", *VARIABLES)


def new_names_of(
    graph_def: GraphDef,
    real: Sequence[str],
    source: GraphSource,
    inputs: Sequence[Found],
    outputs: Sequence[Found],
    ends: Sequence[str],
    named: frozenset[str] = frozenset(),
) -> dict[str, str]:
    """New names for the nodes of `graph_def`, old to new; no two are one, also after `/` becomes `_`.

    `real` are the nodes of the outputs, and `ends` the nodes of our own that stand for those without one. What the user
    `named` keeps its name.
    """
    is_new = bool(source.graph_def.library.function) or source.of_keras_3
    wanted = layer_names(graph_def, is_new, source.graph_def.versions.producer, source.of_keras_3)
    first: list[str] = []
    keys = {node_key(name): key for key, name in source.inputs.items()}
    for found in inputs:
        node = node_key(found.name)
        if node in keys and is_new:
            # TensorFlow 2 calls it serving_default_image, and the signature image.
            wanted[node] = keys[node]
        first.append(node)
    for end, name, found in zip(ends, real, outputs, strict=True):
        if end == name:
            key = next((key for key, tensor in source.outputs.items() if tensor == found.name), None)
            wanted[end] = key or f"{node_of(found.name)}_output" + found.name.partition(":")[2]
        first.append(name)
    wanted |= {name: name for name in named if name in wanted}
    return _assigned(wanted, first)


def layer_names(graph_def: GraphDef, has_functions: bool, producer: int, of_keras_3: bool = False) -> dict[str, str]:
    """For each node the name that it should have, which another may want as well.

    has_functions: it was written out of functions, as TensorFlow 2 has them. producer: of the file it came in.
    of_keras_3: it is known that Keras 3 named the nodes, which is else told by their names.
    """
    names = {node.name: _without_calls(node.name) for node in graph_def.node}
    computed = [n.name for n in graph_def.node if n.op not in NOT_COMPUTED and not n.name.startswith(END)]
    bare = _without_scope(names, computed)
    is_keras_3 = of_keras_3 or (producer >= KERAS_3_PRODUCER and any(KERAS_3.search(bare[name]) for name in bare))
    if not (has_functions or is_keras_3 or _is_model_scope(names, bare, computed)):
        return names
    return _as_layers(graph_def, bare, computed) if is_keras_3 else bare


def layers_of(nodes: Sequence[NodeDef]) -> tuple[str, ...]:
    """What layers the nodes are the ops of: `prob` for prob/Softmax; the nodes' own names where two would be one."""
    layers = [_layer_of(node) for node in nodes]
    return tuple(layers) if len(set(layers)) == len(layers) else tuple(node.name for node in nodes)


def node_key(tensor: str) -> str:
    """A tensor by its node, where it is the first."""
    return tensor.removesuffix(":0")


def _layer_of(node: NodeDef) -> str:
    scope, _, last = node.name.rpartition("/")
    word = re.sub(r"_\d+$", "", last)
    return scope if scope and (node.op.startswith(word) or word in OWN_WORDS) else node.name


def _without_calls(name: str) -> str:
    parts = name.split("/")
    while len(parts) > 1 and CALL.fullmatch(parts[0]):
        parts.pop(0)
    return "/".join(parts)


def _without_scope(names: Mapping[str, str], computed: Sequence[str]) -> dict[str, str]:
    """The names without the scope of the whole model (`functional_1/`), where all that is computed lies in one."""
    scopes = {names[name].partition("/")[0] for name in computed}
    if len(scopes) != 1 or any("/" not in names[name] for name in computed):
        return dict(names)
    (scope,) = scopes
    return {old: new.removeprefix(f"{scope}/") for old, new in names.items()}


def _is_model_scope(names: Mapping[str, str], bare: Mapping[str, str], computed: Sequence[str]) -> bool:
    """Whether what `bare` leaves out is a name that Keras gives a model by itself."""
    return bool(computed) and names[computed[0]] != bare[computed[0]] and bool(
        MODEL_SCOPE.fullmatch(names[computed[0]].partition("/")[0])
    )  # fmt: skip


def _as_layers(graph_def: GraphDef, names: Mapping[str, str], computed: Sequence[str]) -> dict[str, str]:
    """The names without the numbers that Keras 3 puts behind every layer and variable, and in Keras 2's words."""
    kinds = {names[node.name]: node.op for node in graph_def.node}
    paths = [names[name].split("/") for name in computed]
    scopes = _scopes(paths, frozenset(kinds))
    result = {}
    for node in graph_def.node:
        if node.op in VARIABLES:
            result[node.name] = re.sub(r"_\d+$", "", names[node.name])
            continue
        parts, place = names[node.name].split("/"), ""
        for i, part in enumerate(parts):
            place = f"{place}/{part}" if place else part
            parts[i] = scopes.get(place) or _respelled(part, kinds.get(place, ""))
        # A call inside a layer: groups of a convolution are one.
        inner = [part for part in parts[1:-1] if not CALL.fullmatch(part)]
        result[node.name] = "/".join([*parts[:1], *inner, *parts[1:][-1:]])
    return result


def _scopes(paths: Iterable[Sequence[str]], nodes: frozenset[str], above: str = "") -> dict[str, str]:
    """The layers' scopes by their places, with their names without a number: conv1_1 is conv1.

    A layer that is called again has the next number: shared_1 and shared_3 are shared and shared_1. The scopes inside
    an op, which are not all numbered, stay.
    """
    paths = [path for path in paths if len(path) > 1]
    children = dict.fromkeys(path[0] for path in paths if above + path[0] not in nodes)
    found = {child: match for child in children if (match := NUMBERED.fullmatch(child))}
    if not children or len(found) != len(children):
        return {}
    bases = {match[1] for match in found.values()}
    taken: set[str] = set()
    result: dict[str, str] = {}
    for child in sorted(found, key=lambda child: int(found[child][2])):
        name, number = found[child][1], 0
        while name in taken or (number and name in bases):
            number += 1
            name = f"{found[child][1]}_{number}"
        taken.add(name)
        result[above + child] = name
        result |= _scopes([path[1:] for path in paths if path[0] == child], nodes, f"{above}{child}/")
    return result


def _respelled(word: str, op: str) -> str:
    plain, number = (match[1], f"_{match[2]}") if (match := NUMBERED.fullmatch(word)) else (word, "")
    if plain == "convolution" and op:
        return op + number
    return RESPELLED[plain] + number if plain in RESPELLED else word


def _assigned(wanted: Mapping[str, str], first: Sequence[str]) -> dict[str, str]:
    """The new names, old to new; those of `first` are given first, and a name that is taken gets a number."""
    taken = {_flat(old) for old, new in wanted.items() if new == old}
    result = {}
    for old in dict.fromkeys([*first, *wanted]):
        base = wanted[old] if VALID_NAME.fullmatch(wanted[old]) else old
        if wanted[old] == old:
            continue
        name, number = base, 0
        while _flat(name) in taken:
            number += 1
            name = f"{base}_{number}"
        taken.add(_flat(name))
        if name != old:
            result[old] = name
    return result


def _flat(name: str) -> str:
    """The name as the quantizers' files have it."""
    return name.replace("/", "_")
