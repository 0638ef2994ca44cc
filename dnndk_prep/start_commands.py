"""The commands of the first minutes: `init`, `schema` and `explain`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from dnndk_prep.errors import UsageError

YAML = Path("pipeline.yaml")


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add the parsers of `init`, `schema` and `explain`."""
    command = commands.add_parser(
        "init", help="write a first pipeline.yaml", description="Write a commented pipeline.yaml and its schema here."
    )
    command.set_defaults(command=init)
    command.add_argument(
        "model", nargs="?", type=Path, metavar="MODEL", help="fill it with what this file tells; nothing of it is run"
    )
    command.add_argument("--force", action="store_true", help="write over a pipeline.yaml that is there")
    command = commands.add_parser(
        "schema", help="print the JSON schema of pipeline.yaml", description="The JSON schema, for editors."
    )
    command.set_defaults(command=schema)
    command = commands.add_parser(
        "explain", help="say more about an error", description="Cause, remedy and example of an error, by its code."
    )
    command.set_defaults(command=explain)
    command.add_argument("code", nargs="?", metavar="CODE", help="for example K2D-0007; all of them, unless given")
    command.add_argument("--json", action="store_true", help="as JSON, for programs")


def init(args: argparse.Namespace) -> int:
    """`init`: a commented pipeline.yaml, filled from the model, and the schema by which editors complete it."""
    from dnndk_prep.first_yaml import first_yaml, of_sample
    from dnndk_prep.model_facts import filled_from
    from dnndk_prep.schema import FILE

    if YAML.exists() and not args.force:
        raise UsageError(
            f"{YAML} is there already",
            expected="a folder without one",
            found=str(YAML.resolve()),
            remedy="init --force writes over it",
            code="K2D-0032",
        )
    if args.model is not None and not args.model.exists():
        raise UsageError(f"there is no file {args.model}", expected="a model file", remedy="is the path right?")
    filled = filled_from(args.model, Path()) if args.model is not None else of_sample()
    text = first_yaml(filled)
    try:
        Path(FILE).write_text(_schema(), encoding="utf-8")
        YAML.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{error.filename} cannot be written", found=error.strerror, code="K2D-0031") from error
    print(f"written: {YAML}, and {FILE} for editors")
    data = filled.values.get("calibration", {}).get("path")
    if data is not None:
        print(f"next: put your calibration data into {data}, or name another place in calibration.path; then")
    print("  dnndk-prep check\n  dnndk-prep run")
    return 0


def schema(args: argparse.Namespace) -> int:
    """`schema`: the JSON schema of pipeline.yaml."""
    print(_schema(), end="")
    return 0


def explain(args: argparse.Namespace) -> int:
    """`explain`: what an error code stands for; without a code all of them."""
    from dnndk_prep.explain import codes, explanation

    if args.code is not None:
        one = explanation(args.code)
        print(json.dumps(one.as_dict(), indent=2) if args.json else one.as_text())
    elif args.json:
        print(json.dumps([one.as_dict() for one in codes().values()], indent=2))
    else:
        print("\n".join(f"{one.code}  {one.title}" for one in codes().values()))
    return 0


def _schema() -> str:
    from dnndk_prep.schema import schema

    return json.dumps(schema(), indent=2) + "\n"
