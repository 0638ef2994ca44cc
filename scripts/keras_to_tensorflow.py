"""A Keras model as a frozen TensorFlow graph in one step."""

import argparse
import sys
from pathlib import Path

import _entry  # noqa: F401

from dnndk_prep.legacy_cli import OLDEST_READER, flag, guarded


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(description=__doc__)
    model = result.add_argument("--input_model", "--input_model_file", "-input_model_file", required=True, type=Path)
    model.help = "complete model, or weights together with --input_model_json"
    result.add_argument("--input_model_json", type=Path, help="architecture (.json)")
    graph = result.add_argument("--output_model", "--output_model_file", "-output_model_file", required=True, type=Path)
    graph.help = "frozen graph to write (.pb)"
    result.add_argument("--output_nodes_prefix", default="", help="call the outputs by this word and their number")
    result.add_argument("--save_graph_def", nargs="?", const=True, default=False, type=flag, help="as text, too")
    result.add_argument("--output_meta_ckpt", nargs="?", const=True, default=False, type=flag, help="a checkpoint, too")
    result.add_argument("--reader", default=OLDEST_READER, help="the TensorFlow that must read it: 1.9, 1.12 or 1.15")
    return result


def convert(args: argparse.Namespace) -> None:
    from dnndk_prep.graph.freeze import freeze
    from dnndk_prep.graph.readers import for_reader
    from dnndk_prep.keras_io.checkpoint import write_checkpoint, write_graph
    from dnndk_prep.keras_io.inference import build_inference, renamed
    from dnndk_prep.keras_io.load import read_architecture_weights, read_model

    if args.input_model_json:
        source = read_architecture_weights(args.input_model_json, args.input_model)
    else:
        source = read_model(args.input_model)
    built = build_inference(source)
    if args.output_nodes_prefix:
        numbered = {spec.name: f"{args.output_nodes_prefix}{i}" for i, spec in enumerate(built.outputs)}
        built = renamed(built, {}, numbered)
    outputs = [spec.name for spec in built.outputs]
    keep = frozenset([*outputs, *(spec.name for spec in built.inputs)])
    frozen = for_reader(freeze(built.graph_def, built.variables, outputs), args.reader, keep)
    write_graph(args.output_model, frozen)
    if args.save_graph_def:
        write_graph(args.output_model.with_suffix(".pbtxt"), frozen)
    if args.output_meta_ckpt:
        write_checkpoint(args.output_model.with_suffix(".ckpt"), built.graph_def, built.variables)
    print(f"{args.output_model}: inputs {','.join(s.name for s in built.inputs)}, outputs {','.join(outputs)}")


if __name__ == "__main__":
    sys.exit(guarded(parser(), convert))
