"""What comes in, as typed values: the sections `model`, `dataset` and `preprocess` of pipeline.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import PrivateAttr, ValidationInfo, model_validator

from dnndk_prep.config_values import Count, CustomObject, FilePath, Number, Numbers, Section, Size, key
from dnndk_prep.data.preprocess import Preprocess
from dnndk_prep.errors import DnndkPrepError

OF_GRAPH = ("checkpoint", "inputs", "outputs", "constants", "tag", "signature")


class ModelSection(Section):
    """A trained model of yours, Keras' or a TensorFlow graph. Given one, nothing is trained."""

    path: FilePath | None = key(
        None, "a complete model (.h5, .keras), a graph (.pb .pbtxt .meta) or a SavedModel", "my_model.h5"
    )
    architecture: FilePath | None = key(None, "or the architecture as JSON ...", "my_model.json")
    weights: FilePath | None = key(None, "... together with its weights", "my_weights.h5")
    custom_objects: tuple[CustomObject, ...] = key(
        (), "your own layers, as module:Class; needs --allow-custom-code", ["my_layers:Scale"]
    )
    checkpoint: FilePath | None = key(
        None, "of a graph with variables; a .meta and a SavedModel have it beside them", "model.ckpt-1000"
    )
    inputs: tuple[str, ...] | dict[str, tuple[Count | None, ...] | None] = key(
        (), "of a graph, where others are meant; or with shapes: {image: [null, 8, 8, 3]}", ["image"]
    )
    outputs: tuple[str, ...] = key((), "of a graph, where others are meant", ["prob/Softmax"])
    constants: dict[str, bool | int | float] = key(
        {}, "of a graph: placeholders that stand still in inference", {"keep_prob": 1.0}
    )
    tag: str | None = key(None, "of a SavedModel", "serve")
    signature: str | None = key(None, "of a SavedModel", "serving_default")
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
        of_graph = [name for name in OF_GRAPH if getattr(self, name)]
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
    """Where training and test data come from; with them the accuracy is measured after every stage."""

    name: Literal["fashion_mnist_sample", "cifar10", "imdb", "folder", "npz", "none"] = key(
        "fashion_mnist_sample", "none: no accuracy is measured"
    )
    path: FilePath | None = key(
        None, "folder: one folder a class; npz: x_train y_train x_test y_test; cifar10, imdb: a copy", "my_images"
    )
    masks: FilePath | None = key(None, "folder: label images for segmentation, named as the images", "my_masks")

    @model_validator(mode="after")
    def _path_where_needed(self) -> DatasetSection:
        if self.name in ("folder", "npz") and self.path is None:
            raise ValueError(f"dataset.name: {self.name} needs dataset.path")
        if self.name in ("fashion_mnist_sample", "none") and self.path is not None:
            why = "has no data" if self.name == "none" else "ships with the package"
            raise ValueError(f"dataset.name: {self.name} {why} and takes no dataset.path")
        if self.masks is not None and self.name != "folder":
            raise ValueError("dataset.masks goes with dataset.name: folder")
        return self


class PreprocessSection(Section):
    """From an image to the model's input, the same in training, evaluation, calibration and all that is generated."""

    resize: Size | None = key(None, "height, width; bilinear", [32, 32])
    crop: Size | None = key(None, "height, width; from the centre, after resize", [32, 32])
    channels: Literal["rgb", "bgr", "gray"] | None = key(None, "rgb unless given", "rgb")
    scale: Number | None = key(
        None, "value = (pixel * scale - mean) / std, of pixels from 0 to 255; 1 unless given", 0.00392156862745098
    )
    mean: Numbers | None = key(None, "one number, or one a channel in the order of channels", [0.0, 0.0, 0.0])
    std: Numbers | None = key(None, "one number, or one a channel in the order of channels", [1.0, 1.0, 1.0])
    mode: Literal["caffe", "tf", "torch"] | None = key(
        None, "as in keras.applications, instead of channels, scale, mean, std", "tf"
    )

    @model_validator(mode="after")
    def _mode_stands_alone(self) -> PreprocessSection:
        clash = [name for name in ("channels", "scale", "mean", "std") if self.mode and getattr(self, name) is not None]
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
