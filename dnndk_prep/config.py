"""The configuration as typed values: every key of pipeline.yaml, its default, its limits and what it is for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from dnndk_prep.config_inputs import DatasetSection, ModelSection, PreprocessSection
from dnndk_prep.config_values import Count, FileName, FilePath, Flag, Number, Reader, Scope, Section, Word, key
from dnndk_prep.dpu import targets
from dnndk_prep.dpu.own_board import board_of, for_dcf
from dnndk_prep.errors import DnndkPrepError


class TrainSaveSection(Section):
    """How the sample network is trained."""

    epochs: Count = key(6, "how often the training data are gone through")
    batch_size: Count = key(64, "examples a step")
    learning_rate: Number = key(0.003, "of the optimizer", gt=0)


class Keras2TfSection(Section):
    """From the Keras model to a TensorFlow 1 checkpoint and an inference graph."""

    source: Literal["complete", "checkpoint", "json_weights"] | None = key(
        None, "the saved form that is read; all give the same graph", "complete"
    )
    unroll: Flag = key(False, "true: recurrent layers as one copy of their cell a step, without a loop")


class GraphSection(Section):
    """The TensorFlow that will read the graphs, and what their inputs and outputs are called."""

    reader: Reader = key(
        "1.9", 'the oldest TensorFlow that must read the graphs: "1.9" or later, up to "1.15" they differ'
    )
    batch: Count | None = key(None, "graphs for so many images at a time; any number, unless given", 1)
    inputs: dict[str, str] = key({}, "new names for inputs: {layer or op: name}", {"input_1": "image"})
    outputs: dict[str, str] = key({}, "new names for outputs: {layer or op: name}", {"softmax": "scores"})


class FreezeGraphSection(Section):
    """What freezing leaves."""

    clear_devices: Flag = key(True, "take the devices out that the graph was placed on")
    keep_vars: tuple[str, ...] = key((), "names that stay variables, loadable from the checkpoint")


FixName = Literal[
    "clip",
    "cut_rescaling",
    "early_relu",
    "later_output",
    "leaky_26_256",
    "norm_before_add",
    "norm_behind_mean",
    "zero_bias",
]


class OptimizeSection(Section):
    """What the rewrites do where asked."""

    unshare: Flag = key(False, "true: a layer that is used more than once gets weights of its own for each time")
    fixes: tuple[FixName, ...] = key(
        (), "mend what the quantizers do unsaid; dpu_check names what fits", ["later_output", "early_relu"]
    )


class DpuCheckSection(Section):
    """Where each node would run on the board's DPU, and what the quantizer does unsaid: dpu_check/check.txt."""

    family: Literal["tf1", "tf2"] = key("tf1", "the quantizer that is asked")
    fail_on: Literal["cpu", "warning"] | None = key(
        None, "stop where a node runs on the CPU, or also at a warning", "cpu"
    )


class CalibrationSection(Section):
    """The images that the quantizer sees; 100 to 1000 of them, preprocessed as in training."""

    path: FilePath | None = key(
        None, "your own, a folder or an .npz, instead of some of the training part", "calib_data"
    )
    count: Count = key(100, "how many are taken")
    batch_size: Count = key(10, "how many the quantizer is fed at a time")


Choice = Literal[0, 1]
Align = Literal[0, 1, 2]
Width = Annotated[int, Field(strict=True, ge=2, le=32)]


class QuantizeSection(Section):
    """What the vendor's quantizer makes of the optimized graph, on the host; keys are flags of vai_q_tensorflow."""

    mode: Literal["vendor", "best"] = key(
        "vendor", "vendor: what vai_q_tensorflow chooses; best: searched for by the error of the outputs"
    )
    method: Literal[0, 1, 2] = key(1, "0: non-overflow, 1: least error, 2: 1, but relative for depthwise weights")
    weight_bit: Width = key(8, "bits of weights and biases")
    activation_bit: Width = key(8, "bits of activations")
    nodes_bit: dict[str, Width] = key({}, "bits of single nodes: {node: bits}", {"conv1/Conv2D": 8})
    nodes_method: dict[str, Literal[0, 1, 2]] = key({}, "methods of single nodes: {node: method}", {"conv1/Relu": 0})
    align_concat: Align = key(0, "one position for what is concatenated: 0 always, 1 where it is an output, 2 never")
    align_pool: Align = key(0, "one position for what is pooled: 0 always, 1 where it is an output, 2 never")
    adjust_shift_cut: Choice = key(1, "weights move where the DPU cannot shift the sum")
    adjust_shift_bias: Literal[0, 1, 2] = key(1, "biases move: 0 not, 1 by the sum's shift, 2 by the kernel's size")
    simulate_dpu: Choice = key(1, "average pools, leaky relus and hard-sigmoids as the DPU computes them")
    scale_all_avgpool: Choice = key(1, "average pools of all kernels, not of the DPU's own alone")
    do_cle: Choice = key(0, "1: cross-layer equalization")
    replace_relu6: Choice = key(1, "Relu6 becomes Relu in the equalization")
    replace_sigmoid: Choice = key(0, "1: Sigmoid becomes hard-sigmoid")
    ignore_nodes: tuple[str, ...] = key((), "nodes that stay in float")


def _boards(schema: dict[str, Any]) -> None:
    names = {"enum": [board.name for board in targets.boards()]}
    schema["anyOf"] = [{"type": "string", **names}, {"type": "string", "pattern": "^0[xX][0-9a-fA-F]{15,16}$"}]
    del schema["type"]


def _unquoted(value: Any) -> Any:
    """YAML reads 0x... without quotes as a number."""
    return hex(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _releases(schema: dict[str, Any]) -> None:
    schema["anyOf"] = [{"type": "string", "enum": list(targets.releases())}, {"type": "null"}]


class TargetSection(Section):
    """The board, and the toolchain that its bundles are for."""

    board: Annotated[str, BeforeValidator(_unquoted)] = key(
        "zcu104",
        "its DPU is what is checked and compiled for; for a design of your own its fingerprint in quotes",
        json_schema_extra=_boards,
    )
    toolchain: str | None = key(
        None,
        "one release, instead of the newest of each family that the board has",
        "vitis-ai-2.5",
        json_schema_extra=_releases,
    )
    dcf: FilePath | None = key(
        None, "the DPU of a design of your own, for DNNDK 3.1 and Vitis AI 1.0 - 1.2, in place of the board's", "my.dcf"
    )
    bundles: Flag = key(True, "false: no bundle for a board, for models that go elsewhere; needs no calibration data")
    vitis_ai_tf2: Flag = key(True, "the bundle for the quantizer of TensorFlow 2, beside that for TensorFlow 1")

    @model_validator(mode="after")
    def _known(self) -> TargetSection:
        try:
            board = board_of(self.board)
            board = for_dcf(board, self.dcf) if self.dcf is not None else board
            if self.toolchain is not None:
                board.toolchain(self.toolchain)
        except DnndkPrepError as error:
            raise ValueError(f"target: {error.problem}; known: {error.expected}; {error.remedy}") from error
        return self


class SavedModelSection(Section):
    """export/saved_model/<name>/<version>/ for TensorFlow Java, C and Serving; written where any key is given."""

    enabled: Flag | None = key(None, "any other key here says so, too", True)
    name: FileName | None = key(None, "else the name of the model's file", "my_model")
    version: Count = key(1, "the folder under the name")
    signature: Word = key("serving_default", "what programs ask for")
    tags: Annotated[tuple[Word, ...], Field(min_length=1)] = key(("serve",), "what programs load")
    inputs: dict[str, Word] = key(
        {}, "{layer or op: name in the signature}; else the layer's name", {"input_1": "image"}
    )
    outputs: dict[str, Word] = key(
        {}, "{layer or op: name in the signature}; else the layer's name", {"softmax": "scores"}
    )
    learning_phase: Flag = key(
        False, "true: keras_learning_phase is an input; fed true, the model trains (dropout acts)"
    )
    assets: tuple[FilePath, ...] = key((), "files that go with the model, into assets/", ["labels.txt"])

    @property
    def wanted(self) -> bool:
        return bool(self.model_fields_set) if self.enabled is None else self.enabled


class TensorboardSection(Section):
    """export/tensorboard/, which shows the optimized graph; written where any key is given."""

    enabled: Flag | None = key(None, "see it with: tensorboard --logdir workspace/export/tensorboard", True)
    prefix: Scope = key("", "every node stands under this name", "my_model")

    @property
    def wanted(self) -> bool:
        return bool(self.model_fields_set) if self.enabled is None else self.enabled


class Config(Section):
    """The whole of pipeline.yaml."""

    workspace: FilePath = key(Path("workspace"), "one folder a stage is written here", validate_default=True)
    seed: int = key(
        0, "training, calibration images and probe batches repeat with the same seed", ge=0, lt=2**31, strict=True
    )
    model: ModelSection = ModelSection()
    dataset: DatasetSection = DatasetSection()
    preprocess: PreprocessSection = PreprocessSection()
    train_save: TrainSaveSection = TrainSaveSection()
    keras_2_tf: Keras2TfSection = Keras2TfSection()
    graph: GraphSection = GraphSection()
    freeze_graph: FreezeGraphSection = FreezeGraphSection()
    optimize_for_inference: OptimizeSection = OptimizeSection()
    dpu_check: DpuCheckSection = DpuCheckSection()
    calibration: CalibrationSection = CalibrationSection()
    quantize: QuantizeSection = QuantizeSection()
    target: TargetSection = TargetSection()
    saved_model: SavedModelSection = SavedModelSection()
    tensorboard: TensorboardSection = TensorboardSection()

    @model_validator(mode="after")
    def _data_to_train_on(self) -> Config:
        if self.dataset.name == "none" and not self.model.given:
            raise ValueError("dataset.name: none goes with a trained model; without model.path the sample is trained")
        return self
