"""The stages in their order, what each one needs and reads, and the ways to choose some of them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dnndk_prep.code_version import code_version
from dnndk_prep.errors import UsageError, unknown_name
from dnndk_prep.graph.kinds import graph_file
from dnndk_prep.quiet import quiet_start

if TYPE_CHECKING:
    from dnndk_prep.config import ModelSection


@dataclass(frozen=True)
class Stage:
    """One stage: its name is also its module, its folder, its YAML section, its CLI word and its script."""

    name: str
    needs: tuple[str, ...] = ()
    # Parts of the configuration; files and folders named there count by content, not by path.
    reads: tuple[str, ...] = ()
    # The facts of the needed stages count too, not their artifacts alone.
    tells_facts: bool = False
    # The vendors' tools write into its folder, too; what they add is no damage, and no input of a later stage.
    is_shared: bool = False

    def code(self) -> str:
        """The version of the stage's code."""
        return code_version(f"dnndk_prep.stages.{self.name}")

    def run(self) -> Callable[..., dict[str, Any]]:
        """The stage's function; TensorFlow is imported here and not before."""
        with quiet_start():
            return importlib.import_module(f"dnndk_prep.stages.{self.name}").run


# A model of the user's can be proven without data, the sample cannot.
PROOF = ("dataset", "preprocess", "seed", "model.given")
ENDS = ("graph.inputs", "graph.outputs", "graph.batch")
# One of them is a matter of the quantizers' flags.
FIXES = "optimize_for_inference.fixes"

STAGES: tuple[Stage, ...] = (
    Stage("train_save", (), ("model", "dataset", "preprocess", "seed", "train_save")),
    Stage(
        "keras_2_tf",
        ("train_save",),
        ("keras_2_tf", "freeze_graph.keep_vars", "model.custom_objects", *ENDS, *PROOF),
    ),
    Stage("freeze_graph", ("keras_2_tf",), ("freeze_graph", "graph.reader", *PROOF)),
    # The proof compares with the reference outputs, which keras_2_tf keeps.
    Stage("optimize_for_inference", ("freeze_graph", "keras_2_tf"), ("optimize_for_inference", *PROOF)),
    Stage("dpu_check", ("optimize_for_inference",), ("target", "dpu_check", FIXES)),
    Stage("calib_input", ("optimize_for_inference",), ("calibration", "target.bundles", *PROOF)),
    Stage(
        "quantize",
        ("optimize_for_inference", "calib_input"),
        ("quantize", "calibration", "target.bundles", FIXES, *PROOF),
    ),
    # train_save tells what the user's model is called.
    Stage(
        "export",
        ("train_save", "keras_2_tf", "optimize_for_inference", "calib_input"),
        ("target", "saved_model", "tensorboard", "graph", FIXES, "keras_2_tf", "model.path", "model.custom_objects"),
        is_shared=True,
    ),
    Stage(
        "report",
        (
            *("train_save", "keras_2_tf", "freeze_graph", "optimize_for_inference", "dpu_check", "calib_input"),
            *("quantize", "export"),
        ),
        ("target",),
        tells_facts=True,
    ),
)
NAMES = tuple(stage.name for stage in STAGES)


def entry_of(model: ModelSection) -> str | None:
    """The stage that takes a TensorFlow graph in: the one that would have made a file of its kind.

    None where everything begins with train_save: with a Keras model, or without any.
    """
    found = graph_file(model.path) if model.path is not None else None
    if found is None:
        return None
    return "keras_2_tf" if model.checkpoint or found.variables else "freeze_graph"


def entered_at(entry: str | None) -> tuple[Stage, ...]:
    """STAGES with a graph that enters at `entry`: what would have come from a dropped stage comes from there."""
    if entry is None:
        return STAGES
    dropped = NAMES[: NAMES.index(entry)]
    stages = []
    for stage in STAGES:
        needs = tuple(dict.fromkeys(entry if name in dropped else name for name in stage.needs))
        reads = tuple(dict.fromkeys((*stage.reads, "model", *ENDS))) if stage.name == entry else stage.reads
        stages.append(replace(stage, needs=() if stage.name == entry else needs, reads=reads))
    return tuple(stages)


@dataclass(frozen=True)
class Selection:
    """Which stages a command is about, and whether fresh ones run too."""

    first: str | None = None
    last: str | None = None
    only: str | None = None
    force: bool = False

    def stages(self) -> tuple[Stage, ...]:
        """Raises UsageError for a name that is no stage, and for a range that is empty."""
        for name in (self.first, self.last, self.only):
            if name is not None and name not in NAMES:
                raise unknown_name(f"there is no stage {name!r}", name, NAMES)
        if self.only is not None and (self.first is not None or self.last is not None):
            raise UsageError("--only stands alone", expected="--only STAGE, or --from and --to", remedy="leave one out")
        start = NAMES.index(self.only or self.first or NAMES[0])
        end = NAMES.index(self.only or self.last or NAMES[-1])
        if start > end:
            raise UsageError(f"--from {self.first} comes after --to {self.last}", expected=" -> ".join(NAMES))
        return STAGES[start : end + 1]
