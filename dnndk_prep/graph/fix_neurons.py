"""Writes the FixNeurons of the DPU's quantizers with ops that every TensorFlow has, which give the same numbers.

Given:  x -> FixNeuron (bit_width b, quantize_pos p, mode)
Result: x -> Cast to double -> Mul 2^p -> rounding -> Maximum -2^(b-1) -> Minimum 2^(b-1) - 1 -> Mul 2^-p -> Cast back

The rounding of activations (mode 1) takes halves upwards, Floor(v + 0.5); that of weights and biases (modes 0 and 2)
takes them away from zero, Sign(v) Floor(|v| + 0.5). In double precision every step of it is exact, also v + 0.5, which
in single precision makes 1 of the number just below a half.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef

from dnndk_prep.errors import ModelFileError
from dnndk_prep.graph.form_tools import Tools

FIX_NEURON = "FixNeuron"
# What the quantizers call the phase in which the positions stand.
EVALUATE = 1
WEIGHTS, ACTIVATIONS, DEPTHWISE_WEIGHTS = 0, 1, 2
DOUBLE = tf.float64.as_datatype_enum
# The exponents of a double, with room for the numbers themselves.
MAX_POSITION = 900
MAX_BITS = 32


def without_fix_neurons(graph_def: GraphDef, file: str) -> GraphDef:
    """The graph with each FixNeuron in plain ops, the last of which has its name; the graph itself if it has none.

    Raises ModelFileError for a FixNeuron that is not told in full, and for one whose position is not chosen yet.
    """
    if not any(node.op == FIX_NEURON for node in graph_def.node):
        return graph_def
    tools = Tools(graph_def)
    result = GraphDef(versions=graph_def.versions, library=graph_def.library)
    for node in graph_def.node:
        if node.op == FIX_NEURON:
            result.node.extend(plain_fix_neuron(tools, node, file))
        else:
            result.node.append(node)
    return result


def plain_fix_neuron(tools: Tools, node: NodeDef, file: str) -> list[NodeDef]:
    """The nodes that do what the FixNeuron `node` does; the last has its name."""
    bits, position, mode = _settings(node, file)
    made: list[NodeDef] = []

    def constant(what: str, value: float) -> str:
        made.append(tools.const(f"{node.name}/{what}", value, np.float64))
        return made[-1].name

    def apply(op: str, what: str, *inputs: str) -> str:
        new = tools.node(op, f"{node.name}/{what}", list(inputs), node, T=DOUBLE)
        made.append(new)
        return new.name

    def cast(name: str, source: str, before: int, after: int) -> str:
        new = tools.node("Cast", name, [source], node, SrcT=before, DstT=after)
        new.attr.pop("T", None)
        made.append(new)
        return new.name

    kind = node.attr["T"].type if "T" in node.attr else tf.float32.as_datatype_enum
    steps = apply(
        "Mul", "steps", cast(f"{node.name}/double", node.input[0], kind, DOUBLE), constant("per_unit", 2.0**position)
    )
    half = constant("half", 0.5)
    if mode == ACTIVATIONS:
        whole = apply("Floor", "rounded", apply("Add", "plus_half", steps, half))
    else:
        size = apply("Floor", "size", apply("Add", "plus_half", apply("Abs", "abs", steps), half))
        whole = apply("Mul", "rounded", apply("Sign", "sign", steps), size)
    low = apply("Maximum", "not_below", whole, constant("lowest", -(2.0 ** (bits - 1))))
    both = apply("Minimum", "not_above", low, constant("highest", 2.0 ** (bits - 1) - 1))
    cast(node.name, apply("Mul", "value", both, constant("step", 2.0**-position)), DOUBLE, kind)
    return made


def _settings(node: NodeDef, file: str) -> tuple[int, int, int]:
    """bit_width, quantize_pos and mode."""
    missing = [key for key in ("bit_width", "quantize_pos", "mode") if key not in node.attr]
    if missing:
        raise _unknown(node, file, f"no {', '.join(missing)}")
    phase = node.attr["phase"].i if "phase" in node.attr else EVALUATE
    if phase != EVALUATE:
        raise _unknown(node, file, f"phase {phase}: it is not quantized yet, for it still chooses its position")
    bits, position, mode = (int(node.attr[key].i) for key in ("bit_width", "quantize_pos", "mode"))
    if mode not in (WEIGHTS, ACTIVATIONS, DEPTHWISE_WEIGHTS) or not 1 < bits <= MAX_BITS:
        raise _unknown(node, file, f"mode {mode} and {bits} bits")
    if abs(position) > MAX_POSITION:
        raise _unknown(node, file, f"position {position}, which a calibration on no numbers gives")
    return bits, position, mode


def _unknown(node: NodeDef, file: str, found: str) -> ModelFileError:
    return ModelFileError(
        f"the FixNeuron {node.name} of {file} cannot be computed",
        expected=f"mode 0, 1 or 2, 2 to {MAX_BITS} bits and the position that the calibration chose",
        found=found,
        remedy="give quantize_eval_model.pb, and quantize again if that is what it is",
    )
