"""`quantize FLOAT.pb`: the vendor's quantization of any frozen graph, without a YAML and without the vendor's tool."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dnndk_prep.errors import UsageError
from dnndk_prep.quiet import quiet_start
from dnndk_prep.workspace import STAGE_JSON
from dnndk_prep.workspace_lock import require_no_link

# Flags of vai_q_tensorflow with a number, and what the numbers mean.
NUMBERS = {
    "method": "0: non-overflow, 1: least squared error, 2: 1 with relative errors for depthwise weights",
    "weight_bit": "bits of weights and biases",
    "activation_bit": "bits of activations",
    "align_concat": "what is concatenated gets one position: 0 always, 1 where that is an output, 2 never",
    "align_pool": "what is pooled gets the position of the result: 0 always, 1 where that is an output, 2 never",
    "adjust_shift_cut": "weights move where the DPU cannot shift the sum: 0 no, 1 yes",
    "adjust_shift_bias": "biases move where the DPU cannot shift them: 0 no, 1 by the sum's shift, 2 by the kernel",
    "simulate_dpu": "average pools, leaky relus and hard-sigmoids as the DPU computes them: 0 no, 1 yes",
    "scale_all_avgpool": "average pools of all kernels, not of the DPU's own alone: 0 no, 1 yes",
    "do_cle": "cross-layer equalization: 0 no, 1 yes",
    "replace_relu6": "Relu6 becomes Relu in the equalization: 0 no, 1 yes",
    "replace_sigmoid": "Sigmoid becomes hard-sigmoid: 0 no, 1 yes",
}


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add the parser of `quantize`."""
    command = commands.add_parser(
        "quantize",
        help="int8 positions of a frozen graph, as the vendor's quantizer chooses them",
        description="what vai_q_tensorflow makes of a frozen graph: positions, the quantized graph, errors by layer",
    )
    command.set_defaults(command=quantize)
    command.add_argument("graph", type=Path, metavar="FLOAT.pb", help="a frozen graph, float32")
    command.add_argument("--inputs", required=True, metavar="A[,B]", help="the nodes that are fed")
    command.add_argument("--outputs", required=True, metavar="C[,D]", help="the nodes that are the result")
    batches = "batches b0, b1, ...; of several inputs b0_in0, b0_in1, ..."
    command.add_argument("--calib", type=Path, required=True, metavar="NPZ", help=batches)
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder for the files")
    modes = "vendor: what vai_q_tensorflow chooses; best: searched for by the error of the outputs"
    command.add_argument("--mode", choices=("vendor", "best"), default="vendor", help=modes)
    for name, meaning in NUMBERS.items():
        command.add_argument(f"--{name}", type=int, metavar="N", help=meaning)
    command.add_argument("--nodes_bit", default="", metavar="NODE:N,...", help="bits of single nodes")
    command.add_argument("--nodes_method", default="", metavar="NODE:N,...", help="methods of single nodes")
    command.add_argument("--ignore_nodes", default="", metavar="NODE,...", help="nodes that stay in float")


def quantize(args: argparse.Namespace) -> int:
    """`quantize`: the files of the stage `quantize` for a graph and batches of the user's own."""
    with quiet_start():
        from dnndk_prep.graph.weights import weights_apart
        from dnndk_prep.quant.bare import quantize_file
        from dnndk_prep.quant.settings import Settings, node_numbers

    given = {name: getattr(args, name) for name in NUMBERS if getattr(args, name) is not None}
    settings = Settings(
        **given,
        nodes_bit=node_numbers(args.nodes_bit, "--nodes_bit"),
        nodes_method=node_numbers(args.nodes_method, "--nodes_method"),
        ignore_nodes=tuple(_names(args.ignore_nodes)),
    )
    inputs, outputs = _names(args.inputs), _names(args.outputs)
    _require_folder(args.out)
    with weights_apart():
        made, written = quantize_file(args.graph, inputs, outputs, args.calib, args.out, settings, args.mode)
    for note in (*made.notes, *written.warnings):
        print(f"warning: {note}", file=sys.stderr)
    moved = sum(made.positions[name] != seen.position for name, seen in made.seen.items())
    print(f"{len(made.seen)} FixNeurons, {moved} of them moved by alignment and shifts; written: {args.out}")
    return 0


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _require_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out {folder} is a file", expected="a folder, or a new name", remedy="name another folder")
    if (folder / STAGE_JSON).exists():
        raise UsageError(
            f"--out {folder} belongs to a workspace",
            expected="a folder that no stage of a pipeline writes",
            found=str(folder / STAGE_JSON),
            remedy="name another folder",
        )
    for path in folder.rglob("*") if folder.is_dir() else ():
        require_no_link(path)
