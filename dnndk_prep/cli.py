"""The command line: `dnndk-prep run | plan | check | inspect | infer | evaluate | targets`."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from dnndk_prep import __version__, check_command, graph_commands, target_commands
from dnndk_prep.errors import DnndkPrepError, UsageError
from dnndk_prep.graph.kinds import graph_file
from dnndk_prep.quiet import quiet_start
from dnndk_prep.stage_list import NAMES, Selection

if TYPE_CHECKING:
    # Each command imports what it needs: the schema of the YAML and NumPy cost a third of a second.
    from dnndk_prep.config import Config

INTERRUPTED = 128 + signal.SIGINT


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code tells how it went (see dnndk_prep.errors)."""
    args = _parser().parse_args(argv)
    try:
        return args.command(args)
    except DnndkPrepError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # `plan | head`: the reader has what it wanted; nothing more may be flushed to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception:
        traceback.print_exc()
        print("error: this is a bug of dnndk_prep; please report it with the lines above", file=sys.stderr)
        return 1


def entry() -> None:
    """The console script."""
    sys.exit(main())


def run(args: argparse.Namespace) -> int:
    """`run`: the stages that have to run, in their order."""
    from dnndk_prep.pipeline import Pipeline

    pipeline, selection = Pipeline(_config(args), args.allow_custom_code), _selection(args)
    stages = [stage.name for stage in selection.stages()]
    _stop_on_signals()
    done = 0
    try:
        for step, seconds in pipeline.run(selection, say):
            done += 1
            say(f"{step.stage.name}: done in {seconds:.1f} s" if step.runs else f"{step.stage.name}: {step.why}")
    except BaseException as error:
        # What is wrong with the command or the workspace is not mended by the same command.
        if done < len(stages) and not isinstance(error, UsageError):
            word = "interrupted" if isinstance(error, (KeyboardInterrupt, SystemExit)) else "failed"
            print(f"{stages[done]} {word}; go on with:\n  {_resume(args, stages[done])}", file=sys.stderr)
        raise
    say(f"workspace: {pipeline.workspace.root}")
    return 0


def plan(args: argparse.Namespace) -> int:
    """`plan`: which stages would run, and why."""
    from dnndk_prep.pipeline import Pipeline

    steps = list(Pipeline(_config(args)).plan(_selection(args)))
    width = max(len(step.stage.name) for step in steps)
    for step in steps:
        print(f"{step.stage.name:<{width}}  {'run ' if step.runs else 'skip'}  {step.why}")
    return 0


def check(args: argparse.Namespace) -> int:
    """`check`: the YAML alone."""
    _config(args)
    print(f"{args.pipeline}: no mistakes found")
    return 0


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

    convert(args.checkpoint, args.model, args.out, args.map, say)
    say(f"written: {args.out}")
    return 0


def say(text: str) -> None:
    """Print one line now: the next one may be minutes away."""
    print(text, flush=True)


def _config(args: argparse.Namespace) -> Config:
    from dnndk_prep.config_file import load_config

    cfg = load_config(args.pipeline, args.set)
    return cfg.model_copy(update={"workspace": args.workspace}) if getattr(args, "workspace", None) else cfg


def _selection(args: argparse.Namespace) -> Selection:
    return Selection(args.first, args.last, args.only, args.force)


def _resume(args: argparse.Namespace, stage: str) -> str:
    """The command that goes on where this one stopped; finished stages are fresh and do not run again."""
    words = [sys.executable, "-m", "dnndk_prep", "run", str(args.pipeline)]
    for item in args.set:
        words += ["--set", item]
    if args.workspace:
        words += ["--workspace", str(args.workspace)]
    if args.only:
        words += ["--only", args.only]
    elif args.first or args.force:
        words += ["--from", stage]
    if args.last:
        words += ["--to", args.last]
    if args.force:
        words.append("--force")
    if args.allow_custom_code:
        words.append("--allow-custom-code")
    return shlex.join(words)


def _stop_on_signals() -> None:
    """SIGTERM and Ctrl-C unwind the run, so that nothing half-written stays.

    Ctrl-C not as KeyboardInterrupt: when that passes through an exec() of a string (every dataclass and namedtuple
    has one), CPython kills itself with SIGINT at its end, whatever exit code was given.
    """
    signal.signal(signal.SIGTERM, _stop)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _stop)


def _stop(signum: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + signum)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dnndk-prep", description="From a trained Keras model to a Xilinx DPU bundle."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for function, text in ((run, "run the pipeline"), (plan, "say what would run, and why"), (check, "check the YAML")):
        command = commands.add_parser(function.__name__, help=text, description=_after(function))
        command.set_defaults(command=function)
        command.add_argument("pipeline", nargs="?", type=Path, default=Path("pipeline.yaml"), help="the YAML file")
        command.add_argument(
            "--set", action="append", default=[], metavar="A.B=VALUE", help="set one key of the YAML; may be repeated"
        )
        if function is not check:
            _add_selection(command)
        if function is run:
            command.add_argument(
                "--allow-custom-code", action="store_true", help="import the modules that model.custom_objects names"
            )
    _add_inspect(commands.add_parser("inspect", help="say what a model file holds", description=_after(inspect)))
    graph_commands.add_commands(commands)
    target_commands.add_commands(commands)
    _add_ckpt2keras(
        commands.add_parser("ckpt2keras", help="a checkpoint as Keras weights", description=_after(ckpt2keras))
    )
    return parser


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


def _after(function: Callable[[argparse.Namespace], int]) -> str:
    """The help text of a command: its docstring without the command's name."""
    return (function.__doc__ or "").partition(": ")[2]


def _add_selection(command: argparse.ArgumentParser) -> None:
    stages = "one of: " + ", ".join(NAMES)
    command.add_argument("--from", dest="first", metavar="STAGE", help=f"begin here, {stages}")
    command.add_argument("--to", dest="last", metavar="STAGE", help="end here")
    command.add_argument("--only", metavar="STAGE", help="this stage alone")
    command.add_argument("--force", action="store_true", help="run stages even where nothing changed")
    command.add_argument("--workspace", type=Path, metavar="DIR", help="instead of the YAML's workspace")
