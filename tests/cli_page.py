"""The page of the command line in the reference, written from the parsers and the errors."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from dnndk_prep import cli, errors

INTRO = """\
# Command line

Written from the commands' own parsers by `tests/cli_page.py`. `dnndk-prep` and `python -m dnndk_prep` are the same;
`dnndk-prep COMMAND --help` prints what stands here.

"""
CODES = """\
## Exit codes

Each error ends with a code of its own; `dnndk-prep explain CODE` tells more ([all of them](errors.md)).

| exit code | what happened |
|---|---|
| 0 | all is done |
"""


def page() -> str:
    """The whole page, Markdown."""
    commands = _commands()
    table = [f"| [`{name}`](#{name}) | {text} |" for name, _, text in commands]
    parts = [INTRO, "\n".join(["| command | what it does |", "|---|---|", *table]), "\n\n"]
    parts += [_command(name, parser) for name, parser, _ in commands]
    return "".join([*parts, CODES, *_codes()])


def _commands() -> list[tuple[str, argparse.ArgumentParser, str]]:
    parser, _ = cli._parser()
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    helps = {action.dest: action.help or "" for action in commands._choices_actions}
    return [(name, one, helps[name]) for name, one in commands.choices.items()]


def _command(name: str, parser: argparse.ArgumentParser) -> str:
    actions = [action for action in parser._actions if action.dest != "help"]
    words = [word for action in actions if (word := _usage(action))]
    rows = "".join(f"| `{_words(action)}` | {_cell(action.help or '')} |\n" for action in actions)
    text = (parser.description or "").strip()
    more = f"\n```text\n{parser.epilog.rstrip()}\n```\n" if parser.epilog else ""
    head = f"## {name}\n\n{text[:1].upper()}{text[1:].rstrip('.')}.\n\n"
    usage = f"```text\ndnndk-prep {' '.join([name, *words])} [OPTIONS]\n```\n\n"
    return f"{head}{usage}| argument | what it is |\n|---|---|\n{rows}{more}\n"


def _usage(action: argparse.Action) -> str:
    """What has to be given, and what may be without a flag."""
    if action.option_strings:
        return f"{action.option_strings[0]} {_value(action)}" if action.required else ""
    name = _value(action)
    return {"?": f"[{name}]", "*": f"[{name} ...]"}.get(str(action.nargs), name)


def _words(action: argparse.Action) -> str:
    flags = ", ".join(action.option_strings)
    return " ".join(filter(None, [flags, _value(action)]))


def _value(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    if action.choices is not None:
        return f"{{{','.join(map(str, action.choices))}}}"
    shown = action.metavar or action.dest
    name = shown if isinstance(shown, str) else " ".join(shown)
    name = name if action.metavar or action.option_strings else name.upper()
    return f"{name} ..." if action.nargs == "+" else name


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _codes() -> Iterator[str]:
    kinds = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, errors.DnndkPrepError)]
    for kind in sorted(kinds, key=lambda one: one.exit_code):
        text = "A bug of dnndk-prep." if kind is errors.DnndkPrepError else (kind.__doc__ or "").strip()
        yield f"| {kind.exit_code} | {text} |\n"
    yield f"| {cli.INTERRUPTED} | Ctrl-C. |\n"
