"""A Keras model as a TensorFlow 1 checkpoint and inference graph; without flags the stage of pipeline.yaml."""

import argparse
import sys
from pathlib import Path

import _entry  # noqa: F401

from dnndk_prep.legacy_cli import stage_script


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(description=__doc__)
    result.add_argument("-kj", "--keras_json", default="", help="architecture (.json); empty: --keras_hdf5 holds it")
    result.add_argument("-kh", "--keras_hdf5", default="./model.hdf5", type=Path, help="weights or a complete model")
    result.add_argument("-tfc", "--tfckpt", default="./tfchkpt.ckpt", type=Path, help="checkpoint to write")
    result.add_argument("-tfg", "--tf_graph", default="./tf_graph.pb", type=Path, help="graph to write (.pb or .pbtxt)")
    return result


def convert(args: argparse.Namespace) -> None:
    from dnndk_prep.keras_io.checkpoint import write_checkpoint, write_graph
    from dnndk_prep.keras_io.inference import build_inference
    from dnndk_prep.keras_io.load import read_architecture_weights, read_model

    if args.keras_json:
        source = read_architecture_weights(Path(args.keras_json), args.keras_hdf5)
    else:
        source = read_model(args.keras_hdf5)
    built = build_inference(source)
    write_graph(args.tf_graph, write_checkpoint(args.tfckpt, built.graph_def, built.variables))
    print(f"checkpoint {args.tfckpt}\ngraph      {args.tf_graph}")
    print(f"inputs     {','.join(spec.name for spec in built.inputs)}")
    print(f"outputs    {','.join(spec.name for spec in built.outputs)}")


if __name__ == "__main__":
    sys.exit(stage_script("keras_2_tf", parser(), convert))
