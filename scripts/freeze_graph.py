"""A graph and its checkpoint as one frozen graph; without flags the stage of pipeline.yaml."""

import argparse
import sys
from pathlib import Path

import _entry  # noqa: F401

from dnndk_prep.legacy_cli import OLDEST_READER, flag, names, stage_script


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(description=__doc__)
    result.add_argument("--input_graph", required=True, type=Path, help="GraphDef with variables")
    result.add_argument("--input_checkpoint", required=True, type=Path, help="for example ./tf_chkpt.ckpt")
    result.add_argument("--input_binary", nargs="?", const=True, default=False, type=flag, help="false: text")
    result.add_argument("--output_graph", required=True, type=Path, help="frozen graph to write")
    result.add_argument("--output_node_names", required=True, type=names, help="node names between commas")
    result.add_argument("--reader", default=OLDEST_READER, help="the TensorFlow that must read it: 1.9, 1.12 or 1.15")
    return result


def convert(args: argparse.Namespace) -> None:
    from dnndk_prep.graph.freeze import freeze
    from dnndk_prep.graph.readers import for_reader
    from dnndk_prep.keras_io.checkpoint import match_variables, read_checkpoint, read_graph, write_graph

    graph_def = read_graph(args.input_graph, args.input_binary)
    variables = match_variables(graph_def, read_checkpoint(args.input_checkpoint))
    frozen = freeze(graph_def, variables, args.output_node_names)
    write_graph(args.output_graph, for_reader(frozen, args.reader, frozenset(args.output_node_names)))
    print(f"{len(frozen.node)} nodes in {args.output_graph}")


if __name__ == "__main__":
    sys.exit(stage_script("freeze_graph", parser(), convert))
