"""`inspect MODEL --target T`: where each node of a model would run, and what the quantizer would do unsaid."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dnndk_prep.errors import TargetError, UsageError
from dnndk_prep.graph.kinds import graph_file
from dnndk_prep.quiet import quiet_start

if TYPE_CHECKING:
    from dnndk_prep.check.network import Network
    from dnndk_prep.dpu.resolve import Target
    from dnndk_prep.graph.artifact import GraphArtifact

GRAPH_JSON, OPTIMIZED = "graph.json", "optimize_for_inference"
# For a DPU without a toolchain: the level that the quantizers of Vitis AI 1.1 and later read.
READER = "1.15"
FAMILIES, FAILURES = ("tf1", "tf2"), ("cpu", "warning")


def add_flags(command: argparse.ArgumentParser) -> None:
    """The flags of `inspect` that ask for a target."""
    command.add_argument("--target", metavar="T", help="a board, DPU, fingerprint or arch.json: where each node runs")
    command.add_argument("--toolchain", metavar="RELEASE", help="instead of the board's newest, e.g. vitis-ai-2.5")
    command.add_argument("--family", choices=FAMILIES, help="the quantizer: of TensorFlow 1 (default) or 2")
    command.add_argument(
        "--fail-on", choices=FAILURES, help="exit with 7 if a node is not on the DPU, or also if there is a warning"
    )


def inspect_for_target(args: argparse.Namespace) -> int:
    """Print the check of args.model; raises TargetError where --fail-on asks for it."""
    # Other commands must not wait for numpy.
    from dnndk_prep.check import check
    from dnndk_prep.dpu.resolve import resolve_target

    target = resolve_target(args.target, args.toolchain)
    if target.toolchain is not None and args.family is not None and args.family not in target.toolchain.quantizers:
        raise UsageError(
            f"{target.toolchain.release} has no quantizer for TensorFlow 2",
            expected="--family tf1, or a release from vitis-ai-1.3 on",
            found=f"--family {args.family}",
            remedy="leave --family out",
        )
    result = check(network_of(args.model, target), target.dpu, args.family or FAMILIES[0])
    if target.toolchain is not None:
        result = replace(result, target=f"{result.target}, {target.toolchain.name}")
    print(json.dumps(result.as_dict(), indent=2) if args.json else result.as_text(), flush=True)
    reason = result.fails(args.fail_on) if args.fail_on is not None else None
    if reason is not None:
        raise TargetError(
            f"{args.model} does not run whole on {target.dpu.name}",
            expected=f"nothing that --fail-on {args.fail_on} names",
            found=reason,
            remedy="each is listed with what to do",
            code="K2D-0013",
        )
    return 0


def require_target(args: argparse.Namespace) -> None:
    """Raises UsageError for a flag that is about a target where none is given."""
    for flag in ("toolchain", "family", "fail_on"):
        if getattr(args, flag) is not None:
            name = f"--{flag.replace('_', '-')}"
            raise UsageError(f"{name} goes with --target", expected="--target BOARD", remedy="add a --target")


def network_of(path: Path, target: Target) -> Network:
    """The optimized graph of a model: read as it is where a workspace holds it, else made in memory.

    Raises what reading and converting raise.
    """
    from dnndk_prep.check.graph_file import read_graph_file
    from dnndk_prep.check.network import from_graph_def, node_of

    if path.suffix == ".pb" and path.parent.name == OPTIMIZED and path.with_name(GRAPH_JSON).is_file():
        facts = json.loads(path.with_name(GRAPH_JSON).read_text(encoding="utf-8"))
        names = [[spec["name"] for spec in facts[key]] for key in ("inputs", "outputs")]
        given = {spec["name"]: tuple(spec["shape"]) for spec in facts["inputs"]}
        return from_graph_def(read_graph_file(path), names[0], names[1], given)
    reader = target.toolchain.reader if target.toolchain is not None else READER
    with quiet_start():
        from dnndk_prep.graph.rewrite import optimize

        frozen = _of_graph(path, reader) if graph_file(path) is not None else _of_keras(path, reader)
    artifact = optimize(frozen, None)[0]
    given = {spec.name: spec.shape for spec in artifact.inputs}
    names = [list(map(node_of, part)) for part in (artifact.input_names, artifact.output_names)]
    return from_graph_def(artifact.graph_def, names[0], names[1], given)


def _of_keras(path: Path, reader: str) -> GraphArtifact:
    """The frozen graph of a Keras file, as the stages make it."""
    from dnndk_prep.graph.artifact import GraphArtifact
    from dnndk_prep.graph.freeze import freeze
    from dnndk_prep.graph.readers import for_reader
    from dnndk_prep.keras_io.inference import build_inference
    from dnndk_prep.keras_io.load import read_model

    built = build_inference(read_model(path))
    inputs, outputs = [spec.name for spec in built.inputs], [spec.name for spec in built.outputs]
    graph_def = freeze(built.graph_def, built.variables, outputs, inputs=inputs)
    keep = frozenset([*inputs, *outputs])
    return GraphArtifact(for_reader(graph_def, reader, keep), built.inputs, built.outputs, reader)


def _of_graph(path: Path, reader: str) -> GraphArtifact:
    """The frozen graph of a TensorFlow file, ends as they are found, variables from the checkpoint beside it."""
    from dnndk_prep.config import Config, ModelSection
    from dnndk_prep.graph.foreign import foreign_graph
    from dnndk_prep.graph.freeze import freeze
    from dnndk_prep.graph.readers import for_reader
    from dnndk_prep.graph.sources import read_source
    from dnndk_prep.graph.wanted import Wanted
    from dnndk_prep.stages import _graph_entry

    source = read_source(path)
    foreign = foreign_graph(source, Wanted())
    stored = _graph_entry.stored_values(Config(model=ModelSection(path=path)), source, foreign)
    variables = {new: stored[old] for new, old in foreign.keys.items()}
    inputs, outputs = [spec.name for spec in foreign.inputs], [spec.name for spec in foreign.outputs]
    graph_def = freeze(foreign.graph_def, variables, outputs, inputs=inputs)
    return _graph_entry.artifact_of(foreign, for_reader(graph_def, reader, frozenset([*inputs, *outputs])), reader)
