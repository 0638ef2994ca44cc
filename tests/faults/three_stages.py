"""Three stages that take no time, in the place of the pipeline's own: for faults at every single call of files."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from dnndk_prep import pipeline, pipeline_commands, stage_list
from dnndk_prep.stage_list import Stage
from dnndk_prep.stages.context import StageContext

THREE = (
    Stage("train_save", (), ("seed", "train_save")),
    Stage("keras_2_tf", ("train_save",), ("keras_2_tf",)),
    Stage("freeze_graph", ("keras_2_tf",), ("freeze_graph",)),
)


def install() -> None:
    """From now on the pipeline of this process has these stages."""
    stage_list.STAGES = THREE
    for module in (stage_list, pipeline, pipeline_commands):
        module.NAMES = tuple(stage.name for stage in THREE)  # type: ignore[attr-defined]
    Stage.code = lambda stage: "1"  # type: ignore[method-assign]
    Stage.run = lambda stage: _run(stage.name)  # type: ignore[method-assign]


def _run(name: str) -> Callable[[StageContext], dict[str, Any]]:
    def run(ctx: StageContext) -> dict[str, Any]:
        """Writes a text, a large file in pieces, and one in a folder; what it needs is in them."""
        (ctx.scratch / "half").write_bytes(b"half")
        needed = b"".join((folder / "text").read_bytes() for folder in ctx.inputs.values())
        (ctx.out / "text").write_bytes(needed + f"{name} {ctx.cfg.seed if name == 'train_save' else ''}\n".encode())
        with (ctx.out / "large").open("wb", buffering=0) as file:
            for piece in range(4):
                file.write(bytes([piece]) * 50_000)
        (ctx.out / "inner").mkdir()
        (ctx.out / "inner" / "more").write_text(name)
        if name == "keras_2_tf" and ctx.cfg.keras_2_tf.unroll:
            # Waits to be met by another run.
            time.sleep(1.5)
        return {"stage": name}

    return run
