"""Reads a YAML file of ours and `--set`: every mistake at once, each with its place and the nearest known key."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import ValidationError

from dnndk_prep.config import Config
from dnndk_prep.config_values import Section
from dnndk_prep.errors import UsageError, nearest
from dnndk_prep.yaml_marks import MAX_NODES, Mark, Place, Problem, load_marked

Checked = TypeVar("Checked", bound=Section)


@dataclass(frozen=True)
class Override:
    """One `--set a.b=value`; its value is YAML."""

    keys: tuple[str, ...]
    value: Any
    text: str

    @classmethod
    def parse(cls, text: str) -> Override:
        """Raises UsageError unless `text` is `a.b=value` with a value that is YAML."""
        dotted, equals, raw = text.partition("=")
        keys = tuple(dotted.strip().split("."))
        if not equals or not all(keys):
            raise UsageError(
                f"--set {text!r} sets nothing",
                expected="--set section.key=value, for example --set target.board=zcu102",
                found=text,
                remedy="write the key, an equals sign and the value",
                code="K2D-0027",
            )
        data, _, problems = load_marked(f"value: {raw}" if raw.strip() else "value:", f"--set {text}")
        if problems or not isinstance(data, dict) or set(data) != {"value"}:
            detail = problems[0].text if problems else "not one value"
            raise UsageError(
                f"--set {text}: {detail}",
                expected="a YAML value after =",
                remedy="put it in quotes",
                code="K2D-0027",
            )
        value, wanted = data["value"], _annotation(keys)
        # YAML makes a number of 1.10, and a truth value of on.
        if isinstance(value, (bool, int, float)) and _wants_text(wanted):
            value = raw.strip()
        if value in (None, "") and _holds_path(wanted):
            raise UsageError(
                f"--set {text} names no file",
                expected="a path after =",
                remedy="is a variable empty?",
                code="K2D-0027",
            )
        if _holds_path(wanted) and isinstance(value, str):
            # What is typed on the command line is relative to where it is typed.
            value = str(Path.cwd() / Path(value).expanduser())
        return cls(keys, value, f"--set {text}")


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """The checked content of the pipeline.yaml `path`, after the `--set` words in `overrides`.

    Raises UsageError that lists every mistake with file:line:column and the nearest known key.
    """
    return load_checked(path, Config, overrides)


def load_checked(
    path: Path, schema: type[Checked], overrides: Sequence[str] = (), max_nodes: int = MAX_NODES
) -> Checked:
    """The content of the YAML file `path` as `schema` has it, read as load_config reads it."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"{path}: the configuration cannot be read",
            expected="a YAML file",
            found=error.strerror or str(error),
            remedy="name the file: dnndk-prep run pipeline.yaml",
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 text (byte {error.start})", expected="a YAML file in UTF-8") from error
    data, marks, problems = load_marked(text, str(path), max_nodes)
    if data is not None and not isinstance(data, dict):
        problems.append(Problem(Mark(str(path), 1, 1), "the file must hold keys with values, like `target:`"))
        data = {}
    data = data or {}
    for override in map(Override.parse, overrides):
        problems.extend(_apply(data, marks, override))
    try:
        config = schema.model_validate(_without_empty_sections(data), context={"base": path.parent})
    except ValidationError as error:
        problems.extend(_problem(item, marks, Mark(str(path), 1, 1), schema) for item in error.errors())
    if problems:
        unique = sorted(set(problems))
        count = "1 mistake" if len(unique) == 1 else f"{len(unique)} mistakes"
        lines = [f"{count} in the configuration", *(f"  {problem}" for problem in unique)]
        raise UsageError("\n".join(lines), code="K2D-0026")
    return config


def _apply(data: dict[str, Any], marks: dict[Place, Mark], override: Override) -> list[Problem]:
    mark = Mark(override.text)
    here = data
    for depth, key in enumerate(override.keys[:-1], 1):
        if here.get(key) is None:
            here[key] = {}
        here = here[key]
        marks[override.keys[:depth]] = marks.get(override.keys[:depth], mark)
        if not isinstance(here, dict):
            return [Problem(mark, f"{'.'.join(override.keys[:depth])} is a value and has no keys")]
    here[override.keys[-1]] = override.value
    for place in [place for place in marks if place[: len(override.keys)] == override.keys]:
        del marks[place]
    marks[override.keys] = mark
    return []


def _without_empty_sections(data: dict[str, Any]) -> dict[str, Any]:
    """`train_save:` with all its keys commented out means the defaults."""
    return {key: value for key, value in data.items() if value is not None}


def _problem(item: Any, marks: dict[Place, Mark], top: Mark, schema: type[Section]) -> Problem:
    place: Place = tuple(item["loc"])
    # pydantic adds the names of union members to the place; the longest part that stands in the YAML is the place.
    known = next((place[:end] for end in range(len(place), 0, -1) if place[:end] in marks), ())
    mark = marks.get(known, top)
    dotted = ".".join(map(str, known or place))
    if item["type"] == "extra_forbidden":
        return Problem(mark, f"unknown key {dotted!r}{_did_you_mean(place, schema)}")
    if item["type"] == "missing":
        return Problem(mark, f"{'.'.join(map(str, place))} is missing")
    message = item["msg"].removeprefix("Value error, ")
    if item["type"] == "value_error":
        # A rule of a whole section begins with the key that breaks it.
        return Problem(marks.get(tuple(message.split()[0].strip(":,").split(".")), mark), message)
    hint = _quotes_hint(item) or _number_hint(item)
    found = textwrap.shorten(repr(item["input"]), 100, placeholder=" ...")
    return Problem(mark, f"{dotted}: {message[:1].lower()}{message[1:]}, found {found}{hint}")


def _quotes_hint(item: Any) -> str:
    if item["type"] != "string_type" or not isinstance(item["input"], (bool, int, float)):
        return ""
    return "; YAML reads that as a number, and 1.10 as 1.1: write it in quotes"


def _number_hint(item: Any) -> str:
    """YAML 1.1 reads a number with an exponent as text unless it has a point and a sign: 1e-5, 1.0e5."""
    if item["type"] not in ("float_type", "int_type") or not isinstance(item["input"], str):
        return ""
    try:
        number = float(item["input"])
    except ValueError:
        return ""
    return (
        f"; YAML reads that as text: write {number:.1e}" if item["type"] == "float_type" else "; leave out the quotes"
    )


def _did_you_mean(place: Place, schema: type[Section]) -> str:
    names = _known_keys(schema)
    dotted = ".".join(map(str, place))
    elsewhere = [name for name in names if name.split(".")[-1] == place[-1]]
    section = place[:-1]
    siblings = [".".join(map(str, (*section, name))) for name in _fields(_annotation(section, schema))]
    near = elsewhere or nearest(dotted, siblings) or nearest(dotted, names)
    return f"; did you mean {near[0]!r}?" if near else f"; known here: {', '.join(siblings) or 'nothing'}"


def _known_keys(schema: type[Section]) -> list[str]:
    keys = []
    for name, field in schema.model_fields.items():
        keys.append(name)
        keys += [f"{name}.{key}" for key in _fields(field.annotation)]
    return keys


def _fields(annotation: Any) -> Mapping[str, Any]:
    """The keys of a section; none of any other value."""
    found: Mapping[str, Any] = getattr(annotation, "model_fields", {})
    return found


def _annotation(keys: Place, schema: type[Section] = Config) -> Any:
    """What the schema says of the value at `keys`; None where it has no such key."""
    annotation: Any = schema
    for key in keys:
        if get_origin(annotation) is dict:
            annotation = get_args(annotation)[1]
            continue
        fields = _fields(annotation)
        annotation = fields[str(key)].annotation if key in fields else None
    return annotation


def _wants_text(annotation: Any) -> bool:
    """Whether the schema takes a text there, and neither a number nor a truth value."""
    kinds = set(_plain_kinds(annotation))
    return str in kinds and not kinds & {bool, int, float}


def _plain_kinds(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) is Literal:
        yield from map(type, get_args(annotation))
    elif get_origin(annotation) is Annotated:
        yield from _plain_kinds(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, UnionType):
        for part in get_args(annotation):
            yield from _plain_kinds(part)
    else:
        yield annotation


def _holds_path(annotation: Any) -> bool:
    return annotation is Path or any(map(_holds_path, get_args(annotation)))
