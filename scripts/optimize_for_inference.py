"""A frozen graph without what only training needed; without flags the stage of pipeline.yaml."""

import argparse
import sys
from pathlib import Path

import _entry  # noqa: F401

from dnndk_prep.legacy_cli import OLDEST_READER, flag, names, stage_script


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(description=__doc__)
    result.add_argument("--input", required=True, type=Path, help="frozen graph")
    result.add_argument("--output", required=True, type=Path, help="graph to write")
    result.add_argument("--frozen_graph", nargs="?", const=True, default=True, type=flag, help="false: input is text")
    result.add_argument("--input_names", required=True, type=names, help="node names between commas")
    result.add_argument("--output_names", required=True, type=names, help="node names between commas")
    result.add_argument("--reader", default=OLDEST_READER, help="the TensorFlow that must read it: 1.9, 1.12 or 1.15")
    return result


def convert(args: argparse.Namespace) -> None:
    from dnndk_prep.graph.artifact import GraphArtifact
    from dnndk_prep.graph.names import tensor_specs
    from dnndk_prep.graph.rewrite import optimize
    from dnndk_prep.keras_io.checkpoint import read_graph, write_graph

    graph_def = read_graph(args.input, args.frozen_graph)
    inputs, outputs = tensor_specs(graph_def, args.input_names), tensor_specs(graph_def, args.output_names)
    optimized, _ = optimize(GraphArtifact(graph_def, inputs, outputs, args.reader), None)
    write_graph(args.output, optimized.graph_def)
    print(f"{len(graph_def.node)} nodes in {args.input}, {len(optimized.graph_def.node)} in {args.output}")


if __name__ == "__main__":
    sys.exit(stage_script("optimize_for_inference", parser(), convert))
