"""The kinds of values that pipeline.yaml has: paths, counts, names, and the words about a key."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any

# Else pydantic reads the entry points of every package that is installed, a quarter of its start, for plugins.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo

from dnndk_prep.dpu.levels import PRODUCERS, level_of
from dnndk_prep.errors import DnndkPrepError


class Section(BaseModel):
    """A part of the YAML: unknown keys are mistakes, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def key(default: Any, text: str, example: Any = None, **limits: Any) -> Any:
    """A key of a section: its default, what it is in a line, and a value for keys that have none by default.

    The editor shows the line, and `init` writes it behind the key.
    """
    return Field(default=default, description=text, examples=None if example is None else [example], **limits)


def _from_yaml_folder(path: Path, info: ValidationInfo) -> Path:
    base: Path = (info.context or {}).get("base", Path())
    return base / path.expanduser()


def _known_reader(text: str) -> str:
    try:
        level_of(text)
    except DnndkPrepError as error:
        raise ValueError(f"{error.problem}; expected {error.expected}") from error
    return text


def _module_and_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", text):
        raise ValueError("expected module:Class, for example my_layers:Scale")
    return text


def _file_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", text):
        raise ValueError("saved_model.name: expected letters, digits and _.-, for example my_model")
    return text


def _scope(text: str) -> str:
    if text and not re.fullmatch(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*", text):
        raise ValueError("tensorboard.prefix: expected letters, digits and _./>-, for example my_model")
    return text


# A path in the YAML is relative to the folder of the YAML, wherever the command is called from.
FilePath = Annotated[Path, AfterValidator(_from_yaml_folder)]
# A TensorFlow release, 1.9 or later; dpu.levels tells which registry serves one that has none of its own.
Reader = Annotated[
    str, AfterValidator(_known_reader), Field(json_schema_extra={"examples": list(PRODUCERS), "pattern": r"^\d+\.\d+"})
]
# Strict: YAML's `yes` is a truth value and must not become the number 1.
Count = Annotated[int, Field(strict=True, gt=0)]
Number = Annotated[float, Field(strict=True)]
Numbers = Annotated[tuple[Number, ...], Field(min_length=1)]
Size = tuple[Count, Count]
Flag = Annotated[bool, Field(strict=True)]
Word = Annotated[str, Field(min_length=1)]
# The place of a class or function of the user's: the module, a colon, the name.
CustomObject = Annotated[str, AfterValidator(_module_and_name)]
FileName = Annotated[str, AfterValidator(_file_name)]
Scope = Annotated[str, AfterValidator(_scope)]
