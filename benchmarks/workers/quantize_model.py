"""Writes the optimized graph of an untrained network of keras.applications: quantize_model.py NAME JSON FILE."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import keras

import dnndk_prep


def main() -> None:
    name, settings, path = sys.argv[1], json.loads(sys.argv[2]), Path(sys.argv[3])
    keras.utils.set_random_seed(0)
    model = getattr(keras.applications, name)(weights=None, input_shape=(224, 224, 3), **settings)
    graph = dnndk_prep.open_model(model).to_graph().freeze(reader="1.15").optimize().artifact
    path.write_bytes(graph.graph_def.SerializeToString())
    print(json.dumps({"input": graph.input_names[0], "output": graph.output_names[0]}))


if __name__ == "__main__":
    main()
