"""Which graphs may run: those of ops that compute from what they are given, and do nothing else.

An allow-list (safe_ops.yaml), not a list of what is forbidden: TensorFlow has some 1900 ops, each release adds some,
and its own mark `stateful` does not tell: ReadFile, PyFuncStateless and DebugIdentity, which may write a file, do not
have it. The functions of a graph are looked into as well, from wherever they are called. Nothing is given to TensorFlow
before: its shape inference computes constants, and would read a file for that.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from importlib import resources
from math import prod

import tensorflow as tf
import yaml
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow.python.framework import op_def_registry

from dnndk_prep.errors import ModelFileError, UnsafeFileError
from dnndk_prep.graph.topology import by_name, node_of, reachable

# A graph with all its calls written out; the largest published networks have some 30 000 nodes.
MAX_NODES = 1_000_000
# A constant that declares more than it holds is one number, repeated: this many bytes of it at most.
MAX_REPEATED = 2**28
REMEDY = "save the inference part alone, by the names of its outputs, and without reading, writing or Python inside"


@functools.cache
def ops(group: str) -> frozenset[str]:
    """The ops that may run (`runs`), or those that may at most stand in the graph (`idle`)."""
    text = resources.files("dnndk_prep.graph").joinpath("safe_ops.yaml").read_text(encoding="utf-8")
    return frozenset(name for names in yaml.safe_load(text)[group].values() for name in names.split())


def refuse_unsafe(graph_def: GraphDef, file: str, ends: Iterable[str] | None = None) -> None:
    """Raises UnsafeFileError for the first node that may not run, with its place.

    With `ends`, the nodes that they need may run, and the others are not looked at: they must be cut before the graph
    is imported. Without, the others may be what training leaves. Raises ModelFileError for ops that TensorFlow does not
    have, and for functions that call themselves.
    """
    nodes = by_name(graph_def)
    functions = {function.signature.name: function for function in graph_def.library.function}
    _refuse_bomb(graph_def, file)
    needed = set(nodes) if ends is None else reachable(nodes, ends)
    permitted = ops("runs") if ends is not None else ops("runs") | ops("idle")
    seen: set[str] = set()
    waiting = [(name, nodes[name]) for name in nodes if name in needed]
    while waiting:
        place, node = waiting.pop()
        called = [name for name in _called(node) if name in functions]
        for name in called:
            if name not in seen:
                seen.add(name)
                waiting += [(f"{inner.name} in the function {name}", inner) for inner in functions[name].node_def]
        if node.op not in permitted and node.op not in functions:
            raise _refused(file, place, node)
        if node.op == "Const":
            _check_constant(file, place, node.attr["value"].tensor)


def unsafe_nodes(graph_def: GraphDef) -> dict[str, str]:
    """The nodes of the graph that may not run, by themselves or by a function that they call, each with the op."""
    wrong_functions: dict[str, str] = {}
    found = True
    while found:
        found = False
        for function in graph_def.library.function:
            name = function.signature.name
            if name not in wrong_functions and (op := _first_wrong(function.node_def, graph_def, wrong_functions)):
                wrong_functions[name] = op
                found = True
    wrong = {node.name: _first_wrong([node], graph_def, wrong_functions) for node in graph_def.node}
    return {name: op for name, op in wrong.items() if op}


def _first_wrong(nodes: Iterable[NodeDef], graph_def: GraphDef, wrong: Mapping[str, str]) -> str | None:
    functions = {function.signature.name for function in graph_def.library.function}
    for node in nodes:
        if node.op not in ops("runs") and node.op not in functions:
            return node.op
        called = next((wrong[name] for name in _called(node) if name in wrong), None)
        if called:
            return called
    return None


def _called(node: NodeDef) -> Iterator[str]:
    """The names under which `node` may call a function: a function may even have an op's name."""
    yield node.op
    for value in node.attr.values():
        if value.func.name:
            yield value.func.name
        for function in value.list.func:
            yield function.name


def _refused(file: str, place: str, node: NodeDef) -> ModelFileError | UnsafeFileError:
    if op_def_registry.get(node.op) is None:
        return ModelFileError(
            f"TensorFlow {tf.__version__} has no op {node.op}, which {place} of {file} is",
            expected="ops of TensorFlow itself",
            found=node.op,
            remedy="give the graph from before the tool that put this op in",
        )
    if node.op in ops("idle"):
        return UnsafeFileError(
            f"{file} is refused: {place} ({node.op}) belongs to saving or training, and would run",
            expected="outputs that need inference alone",
            found=node.op,
            remedy="name the outputs of the model, not those of its training",
        )
    return UnsafeFileError(
        f"{file} is refused: {place} is {node.op}",
        expected="ops that compute from what they are given, and touch no file, no network and no code",
        found=node.op,
        remedy=REMEDY,
    )


def _refuse_bomb(graph_def: GraphDef, file: str) -> None:
    """A few functions that call each other may be more nodes than any memory holds, or call themselves for ever."""
    functions = {function.signature.name: function for function in graph_def.library.function}
    sizes: dict[str, int] = {}
    active: set[str] = set()

    def size(name: str, depth: int) -> int:
        if name in active or depth > 100:
            raise ModelFileError(
                f"the function {name} in {file} calls itself", expected="functions that come to an end", found=name
            )
        if name not in sizes:
            active.add(name)
            sizes[name] = total(functions[name].node_def, depth)
            active.discard(name)
        return sizes[name]

    def total(nodes: Iterable[NodeDef], depth: int) -> int:
        count = 0
        for node in nodes:
            count += 1 + sum(size(name, depth + 1) for name in _called(node) if name in functions)
            if count > MAX_NODES:
                raise UnsafeFileError(
                    f"{file} is refused: its functions written out are too many nodes",
                    expected=f"at most {MAX_NODES}",
                    remedy=REMEDY,
                )
        return count

    total(graph_def.node, 0)


def _check_constant(file: str, place: str, value: TensorProto) -> None:
    declared = prod(max(dim.size, 0) for dim in value.tensor_shape.dim)
    # Eight bytes, whatever the type: complex128 alone has more, and half as much is still a bomb.
    if declared * 8 > max(MAX_REPEATED, value.ByteSize() * 10):
        raise UnsafeFileError(
            f"{file} is refused: the constant {place} declares more than it holds",
            expected=f"at most {MAX_REPEATED} bytes made of one number",
            found=f"{declared} numbers, stored in {value.ByteSize()} bytes",
            remedy=REMEDY,
        )


def tainted(graph_def: GraphDef, wrong: Mapping[str, str]) -> set[str]:
    """The nodes that read one of `wrong`, directly or not, and those themselves."""
    readers: dict[str, list[str]] = {}
    for node in graph_def.node:
        for name in node.input:
            readers.setdefault(node_of(name), []).append(node.name)
    found: set[str] = set()
    waiting = list(wrong)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += readers.get(name, [])
    return found
