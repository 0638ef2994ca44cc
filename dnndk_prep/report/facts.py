"""What the report is made from, as plain values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dnndk_prep.check.network import Network
from dnndk_prep.dpu.targets import Board, Toolchain


@dataclass(frozen=True)
class Picture:
    """One calibration image: its file, and its class where there is one."""

    path: Path
    label: str | None = None


@dataclass(frozen=True)
class ReportFacts:
    """The content of the stages' stage.json in the stages' order, the target, and what stages wrote beside that.

    What a stage did not write stays empty: the report then leaves the part out.
    """

    stages: tuple[Mapping[str, Any], ...]
    board: Board
    toolchains: tuple[Toolchain, ...]
    # The optimized graph.
    network: Network | None = None
    # check.json: the check of each toolchain.
    checks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    # positions.json's FixNeurons, and the rows of layer_error.csv.
    fix_neurons: Sequence[Mapping[str, Any]] = ()
    errors: Sequence[Mapping[str, str]] = ()
    pictures: Sequence[Picture] = ()
    # What the user's files are called, by the key of the YAML.
    names: Mapping[str, str] = field(default_factory=dict)

    def of(self, stage: str) -> Mapping[str, Any]:
        """The facts of a stage; empty where it was not part of the run."""
        return next((item["facts"] for item in self.stages if item["stage"] == stage), {})
