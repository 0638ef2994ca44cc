"""sweep.yaml as typed values: what is crossed with what, and how much of the machine it may take."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, create_model

from dnndk_prep.config import Config, QuantizeSection, TargetSection
from dnndk_prep.config_values import Count, FilePath, Number, Section, key

# What an entry of `models` may not say: the sweep gives each cell its workspace, and the others are axes of their own.
NOT_OF_MODELS = ("workspace", "target", "quantize")


def _cell_word(text: str) -> str:
    """A word that is a folder's name and a part of a link, whatever it is asked to be."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", text):
        raise ValueError(f"{text!r} is no name for a part of a sweep: expected letters, digits and _.-")
    return text


def _empty_entries(given: Any) -> Any:
    """`vendor:` with nothing behind it is an entry that changes nothing."""
    if not isinstance(given, dict):
        return given
    return {name: {} if entry is None else entry for name, entry in given.items()}


class ModelEntry(
    create_model(  # type: ignore[misc]
        "OfPipeline",
        __base__=Section,
        **{name: (field.annotation, field) for name, field in Config.model_fields.items() if name not in NOT_OF_MODELS},
    )
):
    """What is special of one model: sections of pipeline.yaml, `model` and `preprocess` above all."""


Word = Annotated[str, AfterValidator(_cell_word)]
Models = Annotated[dict[Word, ModelEntry], BeforeValidator(_empty_entries), Field(min_length=1)]
Targets = Annotated[dict[Word, TargetSection], BeforeValidator(_empty_entries), Field(min_length=1)]
Quantizers = Annotated[dict[Word, QuantizeSection], BeforeValidator(_empty_entries), Field(min_length=1)]


class SweepFile(Section):
    """The whole of sweep.yaml. The keys of an entry stand over those of `pipeline`."""

    pipeline: FilePath = key(Path("pipeline.yaml"), "what all cells have in common", validate_default=True)
    folder: FilePath = key(Path("sweep"), "a workspace for each cell, and the table", validate_default=True)
    models: Models = key({"default": {}}, "{name: sections of pipeline.yaml}", validate_default=True)
    targets: Targets = key({"default": {}}, "{name: keys of target}", validate_default=True)
    quantize: Quantizers = key({"default": {}}, "{name: keys of quantize}", validate_default=True)
    workers: Count | None = key(None, "cells at once; as many as the machine has cores for, unless given", 2)
    threads: Count = key(1, "threads of TensorFlow and NumPy in each")
    memory_gib: Number | None = key(None, "a cell that takes more is ended, and failed", 8.0, gt=0)
    retries: int = key(2, "how often a cell is begun again that was killed from outside", ge=0, strict=True)
