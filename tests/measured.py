"""The measured cases: small graphs, their calibration batches, and what vai_q_tensorflow made of them."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tensorflow.core.framework.graph_pb2 import GraphDef

from dnndk_prep.quant.settings import Settings, node_numbers
from dnndk_prep.quant.vendor import Quantization, plan, quantize

GOLDENS = Path(__file__).parent / "quant" / "goldens"
CASES = sorted(folder.name for folder in GOLDENS.iterdir())


@dataclass(frozen=True)
class Case:
    """One folder of goldens/."""

    name: str
    facts: dict

    @property
    def folder(self) -> Path:
        return GOLDENS / self.name

    @property
    def inputs(self) -> list[str]:
        return self.facts["input_nodes"]

    @property
    def outputs(self) -> list[str]:
        return self.facts["output_nodes"]

    def arrays(self, file: str, prefix: str) -> dict[str, np.ndarray]:
        """The arrays `prefix`, or `prefix_in0`, ... of a file by the names of the inputs."""
        with np.load(self.folder / file) as stored:
            if len(self.inputs) == 1:
                return {self.inputs[0]: stored[prefix]}
            return {name: stored[f"{prefix}_in{i}"] for i, name in enumerate(self.inputs)}

    def settings(self) -> Settings:
        """The flags of the run."""
        flags = {}
        for flag, value in self.facts["flags"].items():
            key = flag.removeprefix("--")
            flags[key] = node_numbers(value, flag) if key.startswith("nodes_") else int(value)
        return Settings(**flags)

    def batches(self) -> list[dict[str, np.ndarray]]:
        return [self.arrays("calib.npz", f"b{i}") for i in range(self.facts["calib_iter"])]


@functools.cache
def case(name: str) -> Case:
    """The case in goldens/<name>."""
    return Case(name, json.loads((GOLDENS / name / "golden.json").read_text()))


@functools.cache
def quantized(name: str) -> Quantization:
    """What is made of a case here; once for all tests."""
    one = case(name)
    graph_def = GraphDef.FromString((one.folder / "float.pb").read_bytes())
    shapes = dict(zip(one.inputs, one.facts["input_shapes"], strict=True))
    return quantize(plan(graph_def, one.inputs, one.outputs, shapes, one.settings()), one.batches())
