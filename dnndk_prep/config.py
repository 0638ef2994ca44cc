"""The configuration as typed values: every key of pipeline.yaml, its default and its limits."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationInfo,
    model_validator,
)

from dnndk_prep.data.preprocess import Preprocess
from dnndk_prep.dpu import targets
from dnndk_prep.dpu.levels import level_of
from dnndk_prep.errors import DnndkPrepError


def _from_yaml_folder(path: Path, info: ValidationInfo) -> Path:
    base: Path = (info.context or {}).get("base", Path())
    return base / path.expanduser()


# A path in the YAML is relative to the folder of the YAML, wherever the command is called from.
FilePath = Annotated[Path, AfterValidator(_from_yaml_folder)]


def _known_reader(text: str) -> str:
    try:
        level_of(text)
    except DnndkPrepError as error:
        raise ValueError(f"{error.problem}; expected {error.expected}") from error
    return text


# A TensorFlow release, 1.9 or later; dpu.levels tells which registry serves one that has none of its own.
Reader = Annotated[str, AfterValidator(_known_reader)]
# Strict: YAML's `yes` is a truth value and must not become the number 1.
Count = Annotated[int, Field(strict=True, gt=0)]
Number = Annotated[float, Field(strict=True)]
Numbers = Annotated[tuple[Number, ...], Field(min_length=1)]


def _module_and_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", text):
        raise ValueError("expected module:Class, for example my_layers:Scale")
    return text


# The place of a class or function of the user's: the module, a colon, the name.
CustomObject = Annotated[str, AfterValidator(_module_and_name)]


class Section(BaseModel):
    """A part of the YAML: unknown keys are mistakes, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


OF_GRAPH = ("checkpoint", "inputs", "outputs", "constants", "tag", "signature")


class ModelSection(Section):
    """A trained model of the user's; given one, nothing is trained.

    A TensorFlow graph (.pb, .pbtxt, .meta) or SavedModel folder as `path` takes the further keys: its checkpoint (a
    prefix), its ends where the file does not tell them or tells others, and the values of placeholders in inference.
    """

    path: FilePath | None = None
    architecture: FilePath | None = None
    weights: FilePath | None = None
    custom_objects: tuple[CustomObject, ...] = ()
    checkpoint: FilePath | None = None
    inputs: tuple[str, ...] | dict[str, tuple[Count | None, ...] | None] = ()
    outputs: tuple[str, ...] = ()
    constants: dict[str, bool | int | float] = {}
    tag: str | None = None
    signature: str | None = None
    # The folder of the YAML, where the modules of custom_objects may lie.
    _folder: Path = PrivateAttr(default=Path())

    @model_validator(mode="after")
    def _note_folder(self, info: ValidationInfo) -> ModelSection:
        self._folder = (info.context or {}).get("base", Path())
        return self

    @model_validator(mode="after")
    def _one_way_in(self) -> ModelSection:
        if self.path and (self.architecture or self.weights):
            raise ValueError("give either model.path or model.architecture + model.weights, not both")
        of_graph = [key for key in OF_GRAPH if getattr(self, key)]
        if of_graph and not self.path:
            raise ValueError(f"model.{of_graph[0]} goes with a TensorFlow graph as model.path")
        if bool(self.architecture) != bool(self.weights):
            missing = "weights" if self.architecture else "architecture"
            raise ValueError(f"model.architecture and model.weights go together; model.{missing} is missing")
        return self

    @property
    def given(self) -> bool:
        return bool(self.path or self.architecture)

    @property
    def folder(self) -> Path:
        """Where the modules of custom_objects are looked for first."""
        return self._folder


class DatasetSection(Section):
    """Where training and test data come from."""

    name: Literal["fashion_mnist_sample", "cifar10", "imdb", "folder", "npz"] = "fashion_mnist_sample"
    path: FilePath | None = None
    masks: FilePath | None = None

    @model_validator(mode="after")
    def _path_where_needed(self) -> DatasetSection:
        if self.name in ("folder", "npz") and self.path is None:
            raise ValueError(f"dataset.name: {self.name} needs dataset.path")
        if self.name == "fashion_mnist_sample" and self.path is not None:
            raise ValueError("dataset.name: fashion_mnist_sample ships with the package and takes no dataset.path")
        if self.masks is not None and self.name != "folder":
            raise ValueError("dataset.masks goes with dataset.name: folder")
        return self


class PreprocessSection(Section):
    """From an image to the model's input, in this order: resize, crop, channels, scale, mean, std."""

    resize: tuple[Count, Count] | None = None
    crop: tuple[Count, Count] | None = None
    channels: Literal["rgb", "bgr", "gray"] | None = None
    scale: Number | None = None
    mean: Numbers | None = None
    std: Numbers | None = None
    mode: Literal["caffe", "tf", "torch"] | None = None

    @model_validator(mode="after")
    def _mode_stands_alone(self) -> PreprocessSection:
        clash = [key for key in ("channels", "scale", "mean", "std") if self.mode and getattr(self, key) is not None]
        if clash:
            raise ValueError(f"preprocess.mode sets {', '.join(clash)} itself; leave out one or the other")
        try:
            self.value()
        except DnndkPrepError as error:
            raise ValueError(f"{error.problem}: expected {error.expected}, found {error.found}") from error
        return self

    def value(self) -> Preprocess:
        """The one preprocessing that every stage uses. Raises UsageError for numbers that cannot work."""
        if self.mode is not None:
            return Preprocess.from_mode(self.mode, resize=self.resize, crop=self.crop)
        return Preprocess(
            resize=self.resize,
            crop=self.crop,
            channels=self.channels or "rgb",
            scale=1.0 if self.scale is None else self.scale,
            mean=self.mean or (0.0,),
            std=self.std or (1.0,),
        )


class TrainSaveSection(Section):
    """How the sample network is trained."""

    epochs: Count = 6
    batch_size: Count = 64
    learning_rate: Number = Field(default=0.003, gt=0)


class Keras2TfSection(Section):
    """Which of the three saved forms becomes the graph; by default the complete model where there is one."""

    source: Literal["complete", "checkpoint", "json_weights"] | None = None
    # Recurrent layers as one copy of their cell a step, without a loop.
    unroll: Annotated[bool, Field(strict=True)] = False


class GraphSection(Section):
    """The TensorFlow that will read the graphs, a fixed batch (null: any), and new names for inputs and outputs."""

    reader: Reader = "1.9"
    batch: Count | None = None
    inputs: dict[str, str] = {}
    outputs: dict[str, str] = {}


class FreezeGraphSection(Section):
    """What freezing leaves."""

    clear_devices: Annotated[bool, Field(strict=True)] = True
    keep_vars: tuple[str, ...] = ()


class OptimizeSection(Section):
    """What the rewrites do where asked."""

    # A layer that is computed more than once gets constants of its own for each time.
    unshare: Annotated[bool, Field(strict=True)] = False


class DpuCheckSection(Section):
    """The quantizer whose placement counts, and what of the check fails the run; nothing does unless named."""

    family: Literal["tf1", "tf2"] = "tf1"
    fail_on: Literal["cpu", "warning"] | None = None


class CalibrationSection(Section):
    """The images that the quantizer sees; from the training part, unless a path is given."""

    path: FilePath | None = None
    count: Count = 100
    batch_size: Count = 10


class TargetSection(Section):
    """The board, and one toolchain release instead of each family's newest; or no bundle for a board at all."""

    board: str = "zcu104"
    toolchain: str | None = None
    bundles: Annotated[bool, Field(strict=True)] = True

    @model_validator(mode="after")
    def _known(self) -> TargetSection:
        try:
            board = targets.board(self.board)
            if self.toolchain is not None:
                board.toolchain(self.toolchain)
        except DnndkPrepError as error:
            raise ValueError(f"target: {error.problem}; known: {error.expected}; {error.remedy}") from error
        return self


def _file_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", text):
        raise ValueError("saved_model.name: expected letters, digits and _.-, for example my_model")
    return text


def _scope(text: str) -> str:
    if text and not re.fullmatch(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*", text):
        raise ValueError("tensorboard.prefix: expected letters, digits and _./>-, for example my_model")
    return text


Word = Annotated[str, Field(min_length=1)]


class SavedModelSection(Section):
    """A SavedModel for TensorFlow Java, C and Serving; written where any key is given, unless `enabled` says no."""

    enabled: Annotated[bool, Field(strict=True)] | None = None
    name: Annotated[str, AfterValidator(_file_name)] | None = None
    version: Count = 1
    signature: Word = "serving_default"
    tags: Annotated[tuple[Word, ...], Field(min_length=1)] = ("serve",)
    inputs: dict[str, Word] = {}
    outputs: dict[str, Word] = {}
    learning_phase: Annotated[bool, Field(strict=True)] = False
    assets: tuple[FilePath, ...] = ()

    @property
    def wanted(self) -> bool:
        return bool(self.model_fields_set) if self.enabled is None else self.enabled


class TensorboardSection(Section):
    """An event folder that TensorBoard shows; written where any key is given, unless `enabled` says no."""

    enabled: Annotated[bool, Field(strict=True)] | None = None
    prefix: Annotated[str, AfterValidator(_scope)] = ""

    @property
    def wanted(self) -> bool:
        return bool(self.model_fields_set) if self.enabled is None else self.enabled


class Config(Section):
    """The whole of pipeline.yaml."""

    workspace: FilePath = Field(default=Path("workspace"), validate_default=True)
    seed: int = Field(default=0, ge=0, lt=2**31, strict=True)
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
    target: TargetSection = TargetSection()
    saved_model: SavedModelSection = SavedModelSection()
    tensorboard: TensorboardSection = TensorboardSection()
