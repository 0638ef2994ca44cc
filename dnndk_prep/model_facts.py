"""What a model's file tells for a first pipeline.yaml: its inputs, and how images were probably turned into them.

The file is scanned as `inspect` scans it: nothing of it is run, and neither TensorFlow nor Keras is imported.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dnndk_prep.errors import ModelFileError
from dnndk_prep.first_yaml import Filled
from dnndk_prep.graph.kinds import GRAPH, GraphFile, graph_file

# keras.applications' own preprocess_input of each family, by what its models are called. The ones that scale inside
# (EfficientNet, MobileNetV3, ConvNeXt, RegNet) are told by their Rescaling layer.
FAMILIES = (
    (r"(resnet|inception_resnet|se_?resnet).*v2", "tf"),
    (r"mobilenet|inception|xception|nasnet", "tf"),
    (r"vgg|resnet", "caffe"),
    (r"densenet", "torch"),
)
RECURRENT = re.compile(r"(Conv|CuDNN)?(LSTM|GRU|SimpleRNN|RNN)(1D|2D|3D)?")
SCALING = ("Rescaling", "Normalization")
CHANNELS = {1: "gray", 3: "rgb"}
OWN_IMAGES, OWN_ARRAYS = "my_images", "my_arrays.npz"
# A stranger's file may hold thousands of inputs.
MAX_SHOWN = 8


@dataclass(frozen=True)
class Found:
    """Inputs and outputs by name, with shapes where the file tells them; (name, class, settings) of each layer."""

    kind: str
    name: str
    inputs: Sequence[tuple[str, Sequence[Any] | None]]
    outputs: Sequence[tuple[str, Sequence[Any] | None]] = ()
    layers: Sequence[tuple[str, str, Mapping[str, Any]]] = ()
    about: Sequence[str] = field(default_factory=tuple)

    @property
    def is_channels_first(self) -> bool:
        return any(settings.get("data_format") == "channels_first" for _, _, settings in self.layers)

    @property
    def is_recurrent(self) -> bool:
        return any(RECURRENT.fullmatch(kind) for _, kind, _ in self.layers)

    @property
    def image(self) -> tuple[int | None, int | None, int] | None:
        """Height, width and channels, where the only input is an image."""
        shape = self.inputs[0][1] if len(self.inputs) == 1 else None
        if shape is None or len(shape) != 4 or not all(size is None or isinstance(size, int) for size in shape):
            return None
        sizes = (shape[2], shape[3], shape[1]) if self.is_channels_first else tuple(shape[1:])
        return sizes if sizes[2] in CHANNELS else None


def filled_from(model: Path, folder: Path) -> Filled:
    """The values for a YAML in `folder`: model, preprocess (a guess, which says from what), calibration and target.

    Raises ModelFileError and UnsafeFileError as `inspect` does, and ModelFileError for half a model.
    """
    graph = graph_file(model)
    files, found = ({"path": model}, _of_graph(graph)) if graph is not None else _of_keras(model)
    values: dict[str, Mapping[str, Any]] = {
        "model": {key: os.path.relpath(path, folder) for key, path in files.items()},
        "dataset": {"name": "none"},
    }
    words: dict[tuple[str, str], str] = {}
    if found.is_recurrent:
        values["target"] = {"bundles": False}
        words["target", "bundles"] = "the model is recurrent, and no DPU runs its loop"
    else:
        what = "100 to 1000 images like those of the training" if found.image else "one array an input, by its name"
        values["calibration"] = {"path": OWN_IMAGES if found.image else OWN_ARRAYS}
        words["calibration", "path"] = f"put your own here: {what}"
    if found.image is not None:
        guess, reason = _guess(found)
        values["preprocess"] = guess
        words |= {("preprocess", key): f"a guess: {reason}" for key in ("mode", "scale") if key in guess}
        words |= {("preprocess", key): "of the model's input" for key in ("resize", "channels") if key in guess}
    return Filled(tuple(_about(model, found)), values, words)


def _about(model: Path, found: Found) -> Iterator[str]:
    from dnndk_prep.keras_io.scan.words import shown

    yield f"The model: {shown(model.name)}, {found.kind}"
    for what, ends in (("input", found.inputs), ("output", found.outputs)):
        for name, shape in ends[:MAX_SHOWN]:
            sizes = "" if shape is None else f" [{', '.join('?' if n is None else shown(n, 20) for n in shape[:10])}]"
            layout = ", channels first" if what == "input" and len(shape or ()) == 4 and found.is_channels_first else ""
            yield f"  {what} {shown(name)}{sizes}{layout}"
    yield from (f"  {line}" for line in found.about)


def _guess(found: Found) -> tuple[dict[str, Any], str]:
    """What `preprocess` probably was, and what tells so."""
    assert found.image is not None
    height, width, channels = found.image
    size = {"resize": [height, width]} if height and width else {}
    order = {"channels": CHANNELS[channels]}
    own = next((name for name, kind, _ in found.layers if kind in SCALING), None)
    if own is not None:
        return {**size, **order, "scale": 1.0}, f"the model has a layer that scales, {_short(own)!r}"
    name = found.name.lower()
    mode = next((mode for pattern, mode in FAMILIES if re.match(pattern, name)), None)
    if mode is not None and channels == 3:
        return {**size, "mode": mode}, f"the model is called {_short(found.name)!r}, and keras.applications does that"
    return {**size, **order, "scale": 1 / 255}, "nothing in the file tells; most models are trained on 0 to 1"


def _short(text: str) -> str:
    from dnndk_prep.keras_io.scan.words import shown

    return shown(text, 40)


def _of_keras(model: Path) -> tuple[dict[str, Path], Found]:
    from dnndk_prep.keras_io.architecture import layers_of
    from dnndk_prep.keras_io.facts import facts_of
    from dnndk_prep.keras_io.load import architecture_beside
    from dnndk_prep.keras_io.scan import scan

    contents, files = scan(model), {"path": model}
    if contents.kind == "json":
        files = {"architecture": model, "weights": _weights_beside(model)}
    elif contents.architecture is None:
        architecture = architecture_beside(model)
        if architecture is None:
            raise ModelFileError(
                f"{model} holds weights without an architecture",
                expected="a complete model, or the architecture as JSON beside it",
                found="a weights file alone",
                remedy=f"write model.to_json() into {model.with_suffix('.json').name} beside it",
                code="K2D-0007",
            )
        files, contents = {"architecture": architecture, "weights": model}, scan(architecture)
    facts = facts_of(model, contents)
    config = contents.architecture or {}
    layers = [(_text(layer, "name"), str(layer.get("class_name")), _settings(layer)) for layer in layers_of(config)]
    parameters = "" if facts.parameters is None else f"; {facts.parameters:,} parameters"
    return files, Found(
        kind=f"{facts.kind} of Keras {_short(facts.keras_version or 'unknown')}{parameters}",
        name=_text(config, "name"),
        inputs=[(one.name, one.shape) for one in facts.inputs],
        outputs=[(one.name, one.shape) for one in facts.outputs],
        layers=layers,
    )


def _settings(layer: Mapping[str, Any]) -> Mapping[str, Any]:
    config = layer.get("config")
    return config if isinstance(config, dict) else {}


def _text(layer: Mapping[str, Any], key: str) -> str:
    value = _settings(layer).get(key)
    return value if isinstance(value, str) else ""


def _weights_beside(architecture: Path) -> Path:
    """The weights of net.json: net.weights.h5, net_weights.h5 or net.h5. Raises ModelFileError if there are none."""
    names = [f"{architecture.stem}{end}" for end in (".weights.h5", "_weights.h5", ".h5")]
    for name in names:
        if architecture.with_name(name).is_file():
            return architecture.with_name(name)
    raise ModelFileError(
        f"{architecture} holds an architecture without weights",
        expected=f"one of {', '.join(names)} beside it",
        found="none of them",
        remedy="save them: model.save_weights('model.weights.h5'), or give the file of model.save('model.h5')",
        code="K2D-0007",
    )


def _of_graph(graph: GraphFile) -> Found:
    """The placeholders of a graph in binary form; of the other kinds `inspect` tells more, with TensorFlow."""
    more = (f"nodes and ends: dnndk-prep inspect {graph.path.name}",)
    kind = f"a TensorFlow {'graph' if graph.kind == GRAPH else graph.kind}"
    if graph.kind != GRAPH or graph.is_text:
        return Found(kind, graph.path.stem, [], about=more)
    from dnndk_prep.check.graph_file import read_graph_file

    inputs: list[tuple[str, Sequence[Any] | None]] = []
    for node in read_graph_file(graph.path).node:
        if node.op == "Placeholder":
            shapes = [entry.value.shape for entry in node.attr if entry.key == "shape"]
            told = shapes and not shapes[0].unknown_rank
            inputs.append((node.name, [d.size if d.size >= 0 else None for d in shapes[0].dim] if told else None))
    return Found(kind, graph.path.stem, inputs, about=more)
