"""The commands about a whole pipeline.yaml: `run`, `plan`, `check` and `verify-lock`."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dnndk_prep.errors import StageError, UsageError
from dnndk_prep.stage_list import NAMES, Selection
from dnndk_prep.stopping import ends_on_signals

if TYPE_CHECKING:
    # Each command imports what it needs: the schema of the YAML takes longer than `--help`.
    from dnndk_prep.config import Config
    from dnndk_prep.events import Event
    from dnndk_prep.run_log import RunLog


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add the parsers of `run`, `plan`, `check` and `verify-lock`."""
    for function, text in (
        (run, "run the pipeline"),
        (plan, "say what would run, and why"),
        (check, "check the YAML"),
        (verify_lock, "compare the workspace with its run.lock.yaml"),
    ):
        name = function.__name__.replace("_", "-")
        command = commands.add_parser(name, help=text, description=described(function))
        command.set_defaults(command=function)
        command.add_argument("pipeline", nargs="?", type=Path, default=Path("pipeline.yaml"), help="the YAML file")
        command.add_argument(
            "--set", action="append", default=[], metavar="A.B=VALUE", help="set one key of the YAML; may be repeated"
        )
        if function in (run, plan):
            _add_selection(command)
        if function is not check:
            command.add_argument("--workspace", type=Path, metavar="DIR", help="instead of the YAML's workspace")
        if function is verify_lock:
            command.add_argument("--lock", type=Path, metavar="FILE", help="instead of the workspace's run.lock.yaml")
        if function is run:
            command.add_argument(
                "--allow-custom-code", action="store_true", help="import the modules that model.custom_objects names"
            )
            command.add_argument(
                "--log-format",
                choices=("text", "json"),
                help="plain lines, or a JSON object a line; without it a terminal has a bar",
            )


def described(command: Callable[[argparse.Namespace], int]) -> str:
    """The help text of a command: its docstring without the command's name."""
    return (command.__doc__ or "").partition(": ")[2]


def run(args: argparse.Namespace) -> int:
    """`run`: the stages that have to run, in their order."""
    from dnndk_prep.console import console
    from dnndk_prep.fingerprint import versions
    from dnndk_prep.pipeline import Pipeline
    from dnndk_prep.run_log import RunLog

    pipeline, selection = Pipeline(_config(args), args.allow_custom_code), _selection(args)
    stages = [stage.name for stage in selection.stages()]
    log = RunLog(pipeline.workspace.root, sys.argv, versions(), args.verbose)
    done = 0

    def last_words(word: str) -> str:
        lines = [f"{stages[done]} {word}; go on with:\n  {_resume(args, stages[done])}"] if done < len(stages) else []
        return "\n".join([*lines, *([f"log: {log.path}"] if log.path.is_file() else [])])

    try:
        with (
            ends_on_signals(lambda: last_words("interrupted")),
            console(sys.stdout, args.log_format, pipeline.last_seconds(selection)) as shown,
        ):
            for _ in pipeline.run(selection, lambda event: _tell(event, shown.tell, log), log):
                done += 1
    except BaseException as error:
        # What is wrong with the command or the workspace is not mended by the same command.
        if done < len(stages) and not isinstance(error, UsageError):
            stopped = isinstance(error, (KeyboardInterrupt, SystemExit))
            print(last_words("interrupted" if stopped else "failed"), file=sys.stderr)
        raise
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


def verify_lock(args: argparse.Namespace) -> int:
    """`verify-lock`: whether artifacts, settings, files, code and versions are as run.lock.yaml says."""
    from dnndk_prep.pipeline import Pipeline

    pipeline = Pipeline(_config(args))
    count, differences = pipeline.verify(args.lock)
    for line in differences:
        print(line)
    lock = args.lock or pipeline.workspace.root / "run.lock.yaml"
    if differences:
        raise StageError(
            f"{len(differences)} differences from {lock}",
            expected="artifacts, settings, files, code and versions as they are locked",
            found="the lines above",
            remedy="dnndk-prep run makes them anew with what is here now, and writes the file again",
            code="K2D-0035",
        )
    print(f"{lock}: {count} artifacts are as locked, and so is all that they were made of")
    return 0


def _tell(event: Event, show: Callable[[Event], None], log: RunLog) -> None:
    event = replace(event, text=str(log.path)) if event.kind == "begin" else event
    log.tell(event)
    show(event)


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
    words += ["--force"] * args.force + ["--allow-custom-code"] * args.allow_custom_code
    words += ["--log-format", args.log_format] if args.log_format else []
    return shlex.join(words + ["--verbose"] * args.verbose)


def _add_selection(command: argparse.ArgumentParser) -> None:
    stages = "one of: " + ", ".join(NAMES)
    command.add_argument("--from", dest="first", metavar="STAGE", help=f"begin here, {stages}")
    command.add_argument("--to", dest="last", metavar="STAGE", help="end here")
    command.add_argument("--only", metavar="STAGE", help="this stage alone")
    command.add_argument("--force", action="store_true", help="run stages even where nothing changed")
