"""What a stage is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dnndk_prep.config import Config


@dataclass(frozen=True)
class StageContext:
    """The configuration and the folders of one stage's run."""

    cfg: Config
    # The finished folder of each stage that this one needs.
    inputs: Mapping[str, Path]
    # The empty folder to write; it gets the stage's name when `run` has returned.
    out: Path
    # Survives an interruption, goes with success.
    scratch: Path
    # Prints one line.
    say: Callable[[str], None]
    # The hash of everything this run depends on: what `scratch` holds of another run is told apart by it.
    key: str = ""
