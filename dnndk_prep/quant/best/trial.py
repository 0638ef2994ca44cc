"""A quantized graph whose weights and positions are fed: many settings are tried in one session."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.attr_value_pb2 import AttrValue

from dnndk_prep.graph.fix_neurons import FIX_NEURON
from dnndk_prep.graph.run import imported
from dnndk_prep.graph.topology import node_of
from dnndk_prep.graph.weights import stand_ins
from dnndk_prep.quant import pow2
from dnndk_prep.quant.calibration import Batch
from dnndk_prep.quant.fixed import pruned
from dnndk_prep.quant.network import Node, attribute, by_name, const, node, to_graph_def

SCALE, STEP = "/trial_scale", "/trial_step"


class Trial:
    """A session over nodes with FixNeurons; `values` are the rounded constants by FixNeuron, `positions` the others'.

    In single precision: within one rounding of what `Simulation` gives, several times as fast, and with gradients
    (those of a rounding are one).
    """

    def __init__(self, nodes: Sequence[Node], ends: Sequence[str], is_float: bool = False) -> None:
        """is_float: without any rounding; `positions` are then not looked at."""
        self.ends = list(ends)
        named = by_name(nodes)
        made: list[Node] = []
        self.moving: list[str] = []
        self.fixed: list[str] = []
        for item in nodes:
            if item.op != FIX_NEURON:
                made.append(item)
            elif (value := named[item.inputs[0]].value) is not None:
                made.append(_placeholder(item.name, value.shape))
                self.fixed.append(item.name)
            elif is_float:
                made.append(replace(item, op="Identity", attrs={"T": item.attrs["T"]}))
            else:
                made += _rounding(item)
                self.moving.append(item.name)
        kept = pruned(made, ends)
        names = {item.name for item in kept}
        self.moving = [name for name in self.moving if name in names]
        self.fixed = [name for name in self.fixed if name in names]
        graph_def = to_graph_def(kept)
        self._graph = imported(graph_def)
        self._weights = stand_ins(graph_def)[1]
        options = tf.compat.v1.ConfigProto()
        options.graph_options.rewrite_options.disable_meta_optimizer = True
        self._session = tf.compat.v1.Session(graph=self._graph, config=options)

    def run(
        self,
        batch: Batch,
        values: Mapping[str, np.ndarray],
        positions: Mapping[str, int],
        fetches: Sequence[str] | None = None,
        extra: Mapping[tf.Tensor, np.ndarray] | None = None,
    ) -> list[np.ndarray]:
        """The tensors `fetches` (names of nodes or tensors; the ends unless given) for one batch."""
        wanted = [self.tensor(name) for name in (self.ends if fetches is None else fetches)]
        return self._session.run(wanted, self.feeds(batch, values, positions) | dict(extra or {}))

    def tensor(self, name: str) -> tf.Tensor:
        """The first output of a node, or the tensor with that name."""
        return self._graph.get_tensor_by_name(name if ":" in name else f"{name}:0")

    def feeds(self, batch: Batch, values: Mapping[str, np.ndarray], positions: Mapping[str, int]) -> dict:
        """What a run of the session is fed with."""
        given = {f"{name}:0": array for name, array in batch.items()} | dict(self._weights)
        given |= {f"{name}:0": values[name] for name in self.fixed}
        for name in self.moving:
            given[f"{name}{SCALE}:0"] = np.array(2.0 ** positions[name], np.float32)
            given[f"{name}{STEP}:0"] = np.array(2.0 ** -positions[name], np.float32)
        return given

    def gradients(self, ends: Sequence[str], of: Sequence[str]) -> Gradients:
        """What tells the error of `ends` and its gradients with respect to the constants `of`."""
        return Gradients(self, self._graph, self._session, ends, of)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let the session go."""
        self._session.close()


class Gradients:
    """The mean squared distance of some tensors from targets, and its gradients."""

    def __init__(
        self, trial: Trial, graph: tf.Graph, session: tf.compat.v1.Session, ends: Sequence[str], of: Sequence[str]
    ) -> None:
        self._trial, self._session = trial, session
        with graph.as_default():
            outputs = [trial.tensor(name) for name in ends]
            self._targets = [tf.compat.v1.placeholder(tf.float32, None) for _ in outputs]
            losses = [
                tf.reduce_sum(tf.math.squared_difference(got, want)) / (tf.reduce_sum(tf.square(want)) + 1e-12)
                for got, want in zip(outputs, self._targets, strict=True)
            ]
            self._loss = tf.add_n(losses) / len(losses)
            self.found = tf.compat.v1.gradients(self._loss, [trial.tensor(name) for name in of])
            self._gradients = [gradient for gradient in self.found if gradient is not None]

    def __call__(
        self,
        batch: Batch,
        values: Mapping[str, np.ndarray],
        positions: Mapping[str, int],
        targets: Sequence[np.ndarray],
    ) -> tuple[float, list[np.ndarray]]:
        """The error relative to the targets' squares, and the gradients in their order."""
        feeds = self._trial.feeds(batch, values, positions) | dict(zip(self._targets, targets, strict=True))
        loss, found = self._session.run([self._loss, self._gradients], feeds)
        return float(loss), found


def rounded_values(
    constants: Mapping[str, np.ndarray], fixes: Mapping[str, Node], positions: Mapping[str, int]
) -> dict[str, np.ndarray]:
    """The constants by FixNeuron, each on the grid of its position, as the vendor's tools round them."""
    return {
        name: pow2.quantize(value, fixes[name].attrs["bit_width"].i, positions[name], fixes[name].attrs["mode"].i)
        for name, value in constants.items()
    }


def constants_of(nodes: Iterable[Node]) -> dict[str, np.ndarray]:
    """The float constants by the FixNeuron behind them."""
    every = list(nodes)
    named = by_name(every)
    return {
        item.name: value
        for item in every
        if item.op == FIX_NEURON and (value := named[node_of(item.inputs[0])].value) is not None
    }


def _placeholder(name: str, shape: Sequence[int]) -> Node:
    dims = tf.TensorShape(shape).as_proto()
    return Node(name, "Placeholder", (), {"dtype": attribute(tf.float32), "shape": AttrValue(shape=dims)})


def _rounding(fix: Node) -> list[Node]:
    """floor(x * 2^p + 0.5) * 2^-p within the bounds; the gradient goes through the floor as through Identity."""
    name, source = fix.name, fix.inputs[0]
    low, high = pow2.bounds(fix.attrs["bit_width"].i)
    scalar = {key: np.float32(value) for key, value in (("half", 0.5), ("low", low), ("high", high))}
    parts = {key: f"{name}/trial_{key}" for key in (*scalar, "steps", "plus", "floor", "above", "below")}
    floor = node(parts["floor"], "Floor", parts["plus"])
    floor = replace(floor, attrs={**floor.attrs, "_gradient_op_type": attribute("Identity")})
    return [
        _placeholder(f"{name}{SCALE}", ()),
        _placeholder(f"{name}{STEP}", ()),
        *(const(parts[key], np.array(value)) for key, value in scalar.items()),
        node(parts["steps"], "Mul", source, f"{name}{SCALE}"),
        node(parts["plus"], "Add", parts["steps"], parts["half"]),
        floor,
        node(parts["above"], "Maximum", parts["floor"], parts["low"]),
        node(parts["below"], "Minimum", parts["above"], parts["high"]),
        node(name, "Mul", parts["below"], f"{name}{STEP}"),
    ]
