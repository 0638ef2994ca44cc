"""The command line: `dnndk-prep init | check | plan | run | inspect | explain | ...`; `--help` lists all."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from dnndk_prep import (
    __version__,
    check_command,
    graph_commands,
    pipeline_commands,
    quantize_command,
    start_commands,
    sweep_command,
    target_commands,
)
from dnndk_prep.errors import DnndkPrepError, UsageError, unknown_name
from dnndk_prep.graph.kinds import graph_file
from dnndk_prep.pipeline_commands import described
from dnndk_prep.quiet import be_verbose, quiet_start

INTERRUPTED = 128 + signal.SIGINT


class _Parser(argparse.ArgumentParser):
    """Errors in the words on the command line look like all others."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, remedy=f"see {self.prog} --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code tells how it went (see dnndk_prep.errors)."""
    try:
        args = _arguments(sys.argv[1:] if argv is None else argv)
        if args.verbose:
            be_verbose()
        return args.command(args)
    except DnndkPrepError as error:
        print(error.for_terminal(), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # `plan | head`: the reader has what it wanted; nothing more may be flushed to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception:
        traceback.print_exc()
        bug = DnndkPrepError("this is a bug of dnndk_prep", remedy="please report it with the lines above")
        print(bug.for_terminal(), file=sys.stderr)
        return bug.exit_code


def entry() -> None:
    """The console script."""
    sys.exit(main())


def inspect(args: argparse.Namespace) -> int:
    """`inspect`: what a model file holds, without running anything of it; for a target, where each node would run."""
    if args.target is not None:
        return check_command.inspect_for_target(args)
    check_command.require_target(args)
    if graph_file(args.model) is not None:
        print(graph_commands.inspect_graph(args.model, args.json))
        return 0
    from dnndk_prep.keras_io.facts import inspect_model

    facts = inspect_model(args.model)
    print(json.dumps(facts.as_dict(), indent=2) if args.json else facts.as_text())
    return 0


def ckpt2keras(args: argparse.Namespace) -> int:
    """`ckpt2keras`: the weights of a TensorFlow 1 checkpoint or frozen graph, back in a Keras model."""
    with quiet_start():
        # TensorFlow takes seconds to import; the other commands must not wait for it.
        from dnndk_prep.keras_io.from_checkpoint import convert

    convert(args.checkpoint, args.model, args.out, args.map, _say)
    _say(f"written: {args.out}")
    return 0


def _say(text: str) -> None:
    print(text, flush=True)


def _arguments(words: Sequence[str]) -> argparse.Namespace:
    """Raises UsageError for words that are no command."""
    parser, commands = _parser()
    first = words[0] if words else ""
    if first and not first.startswith("-") and first not in commands:
        raise unknown_name(f"there is no command {first!r}", first, commands)
    return parser.parse_args(words)


def _parser() -> tuple[argparse.ArgumentParser, list[str]]:
    parser = _Parser(prog="dnndk-prep", description="From a trained Keras model to a Xilinx DPU bundle.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    pipeline_commands.add_commands(commands)
    sweep_command.add_commands(commands)
    start_commands.add_commands(commands)
    _add_inspect(commands.add_parser("inspect", help="say what a model file holds", description=described(inspect)))
    graph_commands.add_commands(commands)
    target_commands.add_commands(commands)
    quantize_command.add_commands(commands)
    _add_ckpt2keras(
        commands.add_parser("ckpt2keras", help="a checkpoint as Keras weights", description=described(ckpt2keras))
    )
    for command in commands.choices.values():
        command.add_argument("-v", "--verbose", action="store_true", help="show what TensorFlow and Keras say, too")
    return parser, list(commands.choices)


def _add_ckpt2keras(command: argparse.ArgumentParser) -> None:
    command.set_defaults(command=ckpt2keras)
    command.add_argument("checkpoint", type=Path, metavar="CKPT", help="a checkpoint's prefix or folder, or a .pb")
    command.add_argument("--model", type=Path, required=True, help="the Keras model: .h5, .keras, or JSON")
    command.add_argument(
        "--map", type=Path, metavar="YAML", help="which tensor is which weight, where names do not tell"
    )
    command.add_argument("--out", type=Path, required=True, metavar="H5", help="the file to write")


def _add_inspect(command: argparse.ArgumentParser) -> None:
    command.set_defaults(command=inspect)
    command.add_argument(
        "model",
        type=Path,
        metavar="MODEL",
        help="an .h5, .keras, JSON or weights file, a graph (.pb, .pbtxt, .meta) or a SavedModel",
    )
    command.add_argument("--json", action="store_true", help="as JSON, for programs")
    check_command.add_flags(command)
