"""Weights and architecture of a Keras model as a TensorFlow 1 checkpoint and inference graph in a folder."""

import argparse
import sys
from pathlib import Path

import _entry  # noqa: F401

from dnndk_prep.legacy_cli import guarded


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(description=__doc__)
    result.add_argument("-w", "--weights", required=True, type=Path, help="weights (.h5)")
    result.add_argument("-j", "--json", required=True, type=Path, help="architecture (.json)")
    result.add_argument("-o", "--output", required=True, type=Path, help="folder to write")
    return result


def convert(args: argparse.Namespace) -> None:
    from dnndk_prep.graph.names import op_names_text
    from dnndk_prep.keras_io.checkpoint import CHECKPOINT, INFER_GRAPH, write_checkpoint, write_graph
    from dnndk_prep.keras_io.inference import build_inference, chosen
    from dnndk_prep.keras_io.load import read_architecture_weights

    built = build_inference(read_architecture_weights(args.json, args.weights))
    graph_def = write_checkpoint(args.output / CHECKPOINT, built.graph_def, built.variables)
    for name in (INFER_GRAPH, INFER_GRAPH + "txt"):
        write_graph(args.output / name, graph_def)
    (args.output / "op_names.txt").write_text(op_names_text(graph_def, *chosen(built)))
    print(f"written: {args.output}")


if __name__ == "__main__":
    sys.exit(guarded(parser(), convert))
