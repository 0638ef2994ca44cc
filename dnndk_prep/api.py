"""The steps of the pipeline as calls in Python: open_model, to_graph, freeze, optimize, check, quantize, export.

    import dnndk_prep

    model = dnndk_prep.open_model("my_model.h5", preprocess={"channels": "rgb", "scale": 1 / 255})
    graph = model.to_graph().freeze(reader="1.15").optimize()
    print(graph.check("kv260").as_text())
    quantized = graph.quantize("my_images")
    print(quantized.facts["accuracy"], quantized.facts["worst"])
    quantized.export("bundle", board="kv260")

Each call runs the stage of its name, with its settings, in a temporary workspace: what comes out is byte for byte what
`dnndk-prep run` writes, and is proven in the same way. A step never changes: `frozen = model.to_graph().freeze()` can
be optimized twice with different settings. The files go with the last step that uses them; `save` and `export` keep
what you want.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from dnndk_prep.api_work import PathLike, Work, copied, refuse_full, saved
from dnndk_prep.check.result import CheckResult
from dnndk_prep.errors import UsageError

if TYPE_CHECKING:
    # TensorFlow and numpy are imported by the first step, not by `import dnndk_prep`.
    import numpy as np
    from tensorflow.core.framework.graph_pb2 import GraphDef

    from dnndk_prep.graph.artifact import GraphArtifact, TensorSpec

    Calibration = str | os.PathLike[str] | np.ndarray | Mapping[str, np.ndarray]


class _Step:
    """What a stage made. `facts` is what its stage.json tells: the proof, counts of nodes, warnings."""

    _stage = ""

    def __init__(self, work: Work) -> None:
        self._work = work

    @property
    def folder(self) -> Path:
        """The files of the step, until the last step that shares them is gone."""
        return self._work.root / self._stage

    @property
    def facts(self) -> dict[str, Any]:
        """What was measured, as plain values: "proof" with max_abs_diff to the model, "warnings", and more."""
        return self._work.facts(self._stage)

    @property
    def warnings(self) -> list[str]:
        """What the user should know."""
        return list(self.facts.get("warnings", ()))


class _GraphStep(_Step):
    """A step whose result is a graph."""

    @property
    def artifact(self) -> GraphArtifact:
        """The graph with its inputs and outputs. Raises UsageError where a frozen graph was opened: freeze it."""
        from dnndk_prep.graph.artifact import GraphArtifact

        if not self.folder.is_dir():
            raise UsageError(
                "the graph that was opened is frozen, and has no form before that",
                expected="freeze() before its graph is asked for",
                remedy="open_model(...).to_graph().freeze()",
            )
        return GraphArtifact.load(self.folder)

    @property
    def graph_def(self) -> GraphDef:
        """The GraphDef of TensorFlow, in float32."""
        return self.artifact.graph_def

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Name (without :0), shape (None for a free size, the batch first, then height, width, channels) and dtype."""
        return self.artifact.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Name, shape and dtype of each output, in the model's order."""
        return self.artifact.outputs

    def save(self, folder: PathLike) -> Path:
        """Copy the files (*.pb, graph.json, stage.json, ...) into the new `folder`; UsageError if it is not empty."""
        return copied(self.folder, folder)


class Model(_Step):
    """A model that was taken in, as `open_model` gives it."""

    _stage = "train_save"

    def to_graph(
        self,
        inputs: Mapping[str, str] | None = None,
        outputs: Mapping[str, str] | None = None,
        batch: int | None = None,
        unroll: bool = False,
    ) -> InferenceGraph:
        """The inference graph with variables, as TensorFlow 1 checkpoint and graph (stage keras_2_tf).

        inputs, outputs: new names, {layer or op: name}. batch: images at a time; None leaves it free. unroll: recurrent
        layers without a loop. A random batch is run by Keras and by the graph; the difference is in
        facts["proof"]["probe"]["max_abs_diff"], relative to values of about 1. Raises ModelFileError where a layer has
        no form, UsageError for names that the model does not have, NumericsError where the numbers differ by more than
        1e-4 x max(1, max|y|).
        """
        graph = {"inputs": dict(inputs or {}), "outputs": dict(outputs or {}), "batch": batch}
        return InferenceGraph(self._work.after("keras_2_tf", "keras_2_tf", graph=graph, keras_2_tf={"unroll": unroll}))


class InferenceGraph(_GraphStep):
    """The graph of inference, with variables in a checkpoint beside it."""

    _stage = "keras_2_tf"

    def freeze(self, reader: str = "1.9", keep_vars: Sequence[str] = (), clear_devices: bool = True) -> FrozenGraph:
        """Constants instead of variables, only what the outputs need (stage freeze_graph).

        reader: the oldest TensorFlow that must read the graph, "1.9" (DNNDK 3.0) or later, "1.15" for Vitis AI from
        1.1. keep_vars: variables that stay, by name. Raises StageError for a node without a form at that level (the op
        registries of the releases are the rule), NumericsError as `to_graph` does.
        """
        settings = {"keep_vars": tuple(keep_vars), "clear_devices": clear_devices}
        work = self._work.after("freeze_graph", "freeze_graph", graph={"reader": reader}, freeze_graph=settings)
        return FrozenGraph(work)


class FrozenGraph(_GraphStep):
    """The graph with constants, at the level of the TensorFlow that reads it."""

    _stage = "freeze_graph"

    def optimize(self, unshare: bool = False) -> OptimizedGraph:
        """Batch norms folded, shapes constant, nothing that only training needs (stage optimize_for_inference).

        unshare: a layer that is used more than once gets weights of its own for each time. facts["rewrites"] lists what
        each rewrite did, with the nodes before and after. Raises StageError or NumericsError that names the rewrite.
        """
        stage = OptimizedGraph._stage
        return OptimizedGraph(self._work.after(stage, stage, optimize_for_inference={"unshare": unshare}))


class OptimizedGraph(_GraphStep):
    """The graph that the vendors' quantizers read."""

    _stage = "optimize_for_inference"

    def check(self, target: str, toolchain: str | None = None, family: Literal["tf1", "tf2"] = "tf1") -> CheckResult:
        """Where each node would run: `result.nodes`, `.subgraphs`, `.findings`, `.as_text()`.

        target: a board ("kv260"), a DPU's name, a fingerprint, or the path of an arch.json, DCF or .hwh. toolchain: a
        release ("vitis-ai-2.5"), the newest unless given. family: the quantizer, of TensorFlow 1 or 2. The limits are
        those of the DPU's product guide and UG1414, each with its source in dnndk_prep/dpu. Raises UsageError with the
        nearest names for a target that is not known.
        """
        from dnndk_prep.check import check
        from dnndk_prep.dpu.resolve import resolve_target
        from dnndk_prep.stages.dpu_check import network_of

        return check(network_of(self.artifact), resolve_target(target, toolchain).dpu, family)

    def quantize(
        self,
        calib: Calibration | None = None,
        count: int = 100,
        batch_size: int = 10,
        **flags: Any,
    ) -> QuantizedGraph:
        """The graph in the DPU's int8, as the vendor's quantizer makes it (stages calib_input and quantize).

        calib: a folder of images, an .npz with one array an input, an array [examples, height, width, channels], or
        {input: array}. Images (uint8, 0 to 255) go through the `preprocess` of open_model, floats are taken as they
        are. None: some of the training part of `data`. count: examples that are taken. batch_size: examples a batch.
        flags: those of vai_q_tensorflow (method=1, weight_bit=8, ...), as in the section `quantize` of pipeline.yaml.
        Raises ModelFileError where the data do not fit the inputs, UsageError for a flag that is not known.
        """
        return QuantizedGraph(self._calibrated(calib, count, batch_size).after("quantize", "quantize", quantize=flags))

    def export(
        self,
        folder: PathLike,
        board: str,
        toolchain: str | None = None,
        calib: Calibration | None = None,
        count: int = 100,
        batch_size: int = 10,
    ) -> Path:
        """Write the bundles for the board's toolchains into the new `folder` (stages calib_input and export).

        calib, count and batch_size as in `quantize`; toolchain: a release, the newest of each family unless given.
        Gives the folder. Raises as `quantize` does, StageError where the toolchain cannot take the graph, and
        UsageError for a board or release that is not known.
        """
        refuse_full(Path(folder))
        return _exported(self._calibrated(calib, count, batch_size), folder, board, toolchain)

    def _calibrated(self, calib: Calibration | None, count: int, batch_size: int) -> Work:
        settings = {"path": self._calibration(calib), "count": count, "batch_size": batch_size}
        return self._work.after("calib_input", "calib_input", calibration=settings)

    def _calibration(self, calib: Calibration | None) -> Path | None:
        if calib is None or isinstance(calib, str | os.PathLike):
            return None if calib is None else Path(calib).expanduser().absolute()
        from dnndk_prep import repeatable

        names = [spec.name for spec in self.inputs]
        if not isinstance(calib, Mapping) and len(names) != 1:
            raise UsageError(
                "one array cannot be the calibration data of several inputs",
                expected=f"{{name: array}} for {', '.join(names)}",
                found="one array",
                code="K2D-0011",
            )
        path = Path(tempfile.mkdtemp(dir=self._work.kept.name)) / "calib.npz"
        repeatable.save_npz(path, dict(calib) if isinstance(calib, Mapping) else {names[0]: calib})
        return path


class QuantizedGraph(_Step):
    """What the quantizer makes of the graph; `facts` has accuracy, "worst" (layers) and counts.

    Its folder holds quantize_eval_model.pb and layer_error.csv: per tensor the signal to noise in dB and saturations.
    """

    _stage = "quantize"

    @property
    def positions(self) -> dict[str, Any]:
        """positions.json: value = integer x 2**-position for each node, with the settings that gave it."""
        return json.loads((self.folder / "positions.json").read_text(encoding="utf-8"))

    def save(self, folder: PathLike) -> Path:
        """Copy the files into the new `folder`; UsageError if it is not empty."""
        return copied(self.folder, folder)

    def export(self, folder: PathLike, board: str, toolchain: str | None = None) -> Path:
        """Write the bundles with the same calibration data, as OptimizedGraph.export does."""
        refuse_full(Path(folder))
        return _exported(self._work, folder, board, toolchain)


def open_model(
    model: Any,
    weights: PathLike | None = None,
    *,
    preprocess: Mapping[str, Any] | None = None,
    data: PathLike | None = None,
    custom_objects: Sequence[str] = (),
    seed: int = 0,
    say: Callable[[str], None] | None = None,
) -> Model:
    """Take a trained model in: a file, or a live Keras model.

    model: the path of an .h5 or .keras file of any Keras, of a JSON architecture (with `weights`), of a TensorFlow
    graph or SavedModel; or a `keras.Model` or `tf_keras.Model` in memory, which is saved to a temporary file and goes
    the same way. (A tf_keras model cannot predict any more afterwards in the same process.) preprocess: the section of
    pipeline.yaml, such as {"mode": "tf"} or {"channels": "rgb", "scale": 1 / 255}: value = (pixel x scale - mean) /
    std of pixels from 0 to 255. data: a folder with one folder a class, or an .npz with x_train, y_train, x_test,
    y_test, by which every step measures the accuracy. custom_objects: "module:Class" of your own layers; they are
    imported and run. say: is given each line that a step tells.

    The file is scanned before anything reads it. Raises UnsafeFileError where it would run code or read other files,
    ModelFileError where it is no model, UsageError for settings that cannot be.
    """
    kept = tempfile.TemporaryDirectory(prefix="dnndk_prep-")
    given = Path(model) if isinstance(model, str | os.PathLike) else saved(model, Path(kept.name))
    files = {"path": given} if weights is None else {"architecture": given, "weights": Path(weights)}
    dataset = {"name": "none"} if data is None else {"name": _kind(Path(data)), "path": Path(data).absolute()}
    settings: dict[str, Any] = {
        "seed": seed,
        "model": {**{key: path.absolute() for key, path in files.items()}, "custom_objects": tuple(custom_objects)},
        "dataset": dataset,
        "preprocess": dict(preprocess or {}),
    }
    return Model(Work(kept, Path(kept.name) / "none", settings, say).after("train_save", "train_save"))


def _kind(data: Path) -> str:
    return "npz" if data.suffix == ".npz" else "folder"


def _exported(work: Work, folder: PathLike, board: str, toolchain: str | None) -> Path:
    done = work.after("export", "export", target={"board": board, "toolchain": toolchain})
    return copied(done.root / "export", folder)
