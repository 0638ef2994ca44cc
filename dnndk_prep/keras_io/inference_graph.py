"""What a Keras model computes in inference, as one value, however its graph was made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from tensorflow.core.framework.graph_pb2 import GraphDef

from dnndk_prep.graph.artifact import TensorSpec


@dataclass(frozen=True)
class InferenceGraph:
    """What a model computes in inference: its graph with variables, and their values by the variable's node name.

    input_layers and output_layers are Keras' names, in the order of `inputs` and `outputs`. notes: what the graph does
    otherwise than the model, in words. largest: the bytes of the largest tensor, for one example. traced: why Keras 3
    traced the model, empty where Keras 2 built it.
    """

    graph_def: GraphDef
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    variables: Mapping[str, np.ndarray]
    input_layers: tuple[str, ...]
    output_layers: tuple[str, ...]
    notes: tuple[str, ...] = ()
    largest: int = 0
    traced: str = ""
