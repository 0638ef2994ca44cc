"""Patterns of the battery: activations, dense layers, shapes of models, recurrent layers, attention and operations."""

from __future__ import annotations

from typing import Any

from battery.convolutions import CONV, layer, sequence
from battery.patterns import IMAGE, Pattern

STEPS = (6, 4)
STATISTICS = {"mean": [0.1, 0.2, 0.3, 0.4], "variance": [2.0, 1.0, 0.5, 3.0]}
SIMPLE = ("linear", "relu", "tanh", "sigmoid", "softmax", "softplus", "softsign", "elu", "selu", "exponential")
NEW = ("relu6", "leaky_relu", "hard_silu", "log_softmax")
# Keras 2 has no form for these: the model is traced.
TRACED = ("celu", "glu", "hard_shrink", "hard_tanh", "log_sigmoid", "soft_shrink", "squareplus")


def simple_activations(keras: Any, x: Any) -> list[Any]:
    return [keras.layers.Activation(name, name=name)(x) for name in SIMPLE]


def nested(keras: Any, x: Any) -> Any:
    layers = keras.layers
    part = keras.Input((12, 12, 4))
    inner = keras.Model(part, layers.BatchNormalization()(layers.Conv2D(4, 3, name="conv")(part)), name="inner")
    outer = keras.Sequential([inner, layers.ReLU(), layers.Conv2D(2, 3, name="conv_2")], name="outer")
    return outer(x)


def shared(keras: Any, x: Any) -> Any:
    layers = keras.layers
    conv = layers.Conv2D(4, 3, padding="same", activation="relu")
    return layers.Concatenate()([conv(conv(x)), conv(x)])


def several_inputs(keras: Any, image: Any, vector: Any) -> list[Any]:
    layers = keras.layers
    x = layers.Concatenate()([layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(image)), vector])
    return [layers.Dense(3, name="second")(x), layers.Dense(2, activation="softmax", name="first")(x)]


def dict_outputs(keras: Any, x: Any) -> dict[str, Any]:
    layers = keras.layers
    return {"wide": layers.Conv2D(4, 3, name="a")(x), "mask": layers.Conv2D(1, 1, activation="sigmoid", name="b")(x)}


def identity_outputs(keras: Any, x: Any) -> list[Any]:
    layers = keras.layers
    x = layers.Conv2D(3, 3, name="conv")(x)
    return [layers.Dropout(0.5, name="drop")(x), layers.Activation("linear", name="linear")(x), layers.ReLU()(x)]


def operators(keras: Any, x: Any) -> Any:
    x = keras.layers.Conv2D(4, 3)(x)
    return (1.0 - x * 0.5) / (x * x + 2.0) - x[:, 1:2, :, :]


def keras_ops(keras: Any, x: Any) -> Any:
    ops = keras.ops
    x = ops.relu(keras.layers.Conv2D(4, 3)(x))
    x = ops.concatenate([ops.mean(x, axis=(-3, -2)), ops.max(x, axis=(2, 1))], axis=-1)
    return ops.expand_dims(ops.sqrt(ops.clip(x, 0.0, 6.0) + 1.0), 1)


def tf_operations(keras: Any, x: Any) -> Any:
    import tensorflow as tf

    x = tf.nn.relu6(keras.layers.Conv2D(4, 3)(x))
    x = tf.concat([tf.reduce_mean(x, axis=[-3, -2]), tf.reduce_max(x, axis=[2, 1])], -1)
    return tf.expand_dims(tf.sqrt(tf.clip_by_value(x, 0.0, 6.0) + 1.0), 1)


def joins(keras: Any, x: Any) -> Any:
    layers = keras.layers
    a, b = layers.Conv2D(4, 3, padding="same")(x), layers.Conv2D(4, 1)(x)
    joined = [getattr(layers, kind)()([a, b]) for kind in ("Add", "Subtract", "Multiply", "Maximum", "Average")]
    return layers.Concatenate()(joined)


def attention(keras: Any, x: Any) -> Any:
    layers = keras.layers
    y = layers.MultiHeadAttention(2, 3)(x, x)
    x = layers.LayerNormalization()(layers.Add()([x, y]))
    return layers.Dense(3)(layers.Flatten()(layers.Dense(8, activation="gelu")(x)))


def dot_attention(keras: Any, x: Any) -> Any:
    return keras.layers.Attention()([keras.layers.Dense(4)(x), x])


def masked(kind: str, **options: Any) -> Any:
    def build(keras: Any, x: Any) -> Any:
        x = keras.layers.Embedding(7, 4, mask_zero=True)(x)
        return keras.layers.Dense(2)(getattr(keras.layers, kind)(5, **_portable(keras, kind), **options)(x))

    return build


def recurrent(kind: str, **options: Any) -> Any:
    return lambda keras, x: getattr(keras.layers, kind)(5, **_portable(keras, kind), **options)(x)


def _portable(keras: Any, kind: str) -> dict[str, Any]:
    return {"use_cudnn": False} if keras.__name__ == "keras" and kind != "SimpleRNN" else {}


def bidirectional(keras: Any, x: Any) -> Any:
    inner = keras.layers.LSTM(5, return_sequences=True, **_portable(keras, "LSTM"))
    return keras.layers.Bidirectional(inner)(x)


def time_distributed(keras: Any, x: Any) -> Any:
    return keras.layers.TimeDistributed(keras.layers.Conv2D(3, 3))(x)


def traced_operations(keras: Any, x: Any) -> Any:
    ops = keras.ops
    x = ops.cumsum(keras.layers.Conv2D(4, 3, activation="relu")(x), axis=1)
    return ops.einsum("nhwc,nhwd->ncd", x, ops.roll(x, 1, axis=2)) * 0.1


def traced_block(keras: Any, x: Any) -> Any:
    """All that a trace spells in more nodes than Keras 2: biases, batch norms, enlarged images, products, silu."""
    layers = keras.layers
    x = layers.BatchNormalization()(layers.Conv2D(4, 3, use_bias=False, activation="silu")(x))
    x = layers.BatchNormalization(scale=False)(layers.Conv2DTranspose(4, 3, strides=2, padding="same")(x))
    x = layers.DepthwiseConv2D(3, padding="same", activation="celu")(layers.UpSampling2D((2, 1))(x))
    return layers.Dense(3, activation="softmax")(layers.Flatten()(layers.AveragePooling2D(2)(x)))


def traced_recurrent(kind: str) -> Any:
    return lambda keras, x: keras.ops.cumsum(getattr(keras.layers, kind)(5)(keras.layers.Masking()(x)), axis=-1)


ACTIVATIONS = (
    Pattern("activations of all Kerases", simple_activations, ((5,),)),
    *(Pattern(f"activation {name} of Keras 3", sequence(CONV, ("Activation", name)), spellings=("3",)) for name in NEW),
    *(
        Pattern(f"activation {name} of Keras 3, traced", sequence(CONV, ("Activation", name)), spellings=("3",))
        for name in TRACED
    ),
    Pattern(
        "activation sparsemax of Keras 3, traced",
        sequence(CONV, ("Activation", "sparsemax")),
        spellings=("3",),
        computes_sizes="how many values it sorts",
    ),
    Pattern("activations of images", sequence(CONV, ("Activation", "softmax"), CONV, ("Activation", "selu"))),
    Pattern("relu with slope, threshold and limit", layer("ReLU", 2.0, 0.1, 0.5)),
    Pattern("relu6", sequence(CONV, ("ReLU", 6.0))),
    Pattern("relu with another limit", sequence(CONV, ("ReLU", 1.0))),
    Pattern("leaky relu", sequence(CONV, ("LeakyReLU", 0.1))),
    Pattern("PReLU", sequence(CONV, ("PReLU", {"shared_axes": [1, 2]}))),
    Pattern("PReLU of each value", sequence(("PReLU",))),
    Pattern("ELU with another alpha", layer("ELU", 0.5)),
    Pattern("gelu", sequence(CONV, ("Activation", "gelu"))),
    Pattern("silu", sequence(CONV, ("Activation", "swish"))),
    Pattern("hard sigmoid", sequence(CONV, ("Activation", "hard_sigmoid"))),
    Pattern("mish", sequence(CONV, ("Activation", "mish"))),
)

DENSE = (
    Pattern("dense", sequence(("Dense", 6, {"activation": "relu"}), ("Dense", 3, {"activation": "softmax"})), ((5,),)),
    Pattern("flatten and dense", sequence(CONV, ("Flatten",), ("Dense", 3))),
    Pattern("dense on images", sequence(("Dense", 6, {"activation": "relu"}), ("Dense", 3))),
    Pattern("dense on sequences", sequence(("Dense", 6), ("Dense", 3)), (STEPS,)),
    Pattern("reshape and permute", sequence(("Permute", (2, 1, 3)), ("Reshape", (6, -1, 4)))),
    Pattern("repeat vector", layer("RepeatVector", 3), ((5,),)),
    Pattern("einsum dense", layer("EinsumDense", "abc,cd->abd", (None, 3), bias_axes="d"), (STEPS,)),
    Pattern(
        "embedding, whole numbers in",
        sequence(("Embedding", 7, 4), ("GlobalAveragePooling1D",)),
        ((6,),),
        dtype="int32",
    ),
    Pattern("Rescaling inside, bytes in", sequence(("Rescaling", 1 / 255, -0.5), CONV), dtype="uint8"),
    Pattern(
        "Normalization inside",
        sequence(("Normalization", {"mean": [0.1, 0.2, 0.3, 0.4], "variance": [2.0, 1.0, 0.5, 3.0]}), CONV),
    ),
)

MODELS = (
    Pattern("nested models", nested),
    Pattern("shared layer", shared),
    Pattern("several inputs and outputs", several_inputs, (IMAGE, (3,))),
    Pattern("outputs in a dict", dict_outputs),
    Pattern("outputs of layers that do nothing", identity_outputs),
    Pattern("time distributed", time_distributed, ((3, 6, 6, 2),)),
)

RECURRENT = (
    Pattern("LSTM", recurrent("LSTM"), (STEPS,)),
    Pattern("GRU", recurrent("GRU"), (STEPS,)),
    Pattern("GRU, reset before", recurrent("GRU", reset_after=False, return_sequences=True), (STEPS,)),
    Pattern("SimpleRNN", recurrent("SimpleRNN"), (STEPS,)),
    Pattern("bidirectional LSTM", bidirectional, (STEPS,)),
    Pattern("unrolled LSTM", recurrent("LSTM", unroll=True), (STEPS,), computes_sizes="its first state"),
    Pattern("stateful LSTM", recurrent("LSTM", stateful=True), (STEPS,), batch=2),
    Pattern("masked LSTM", masked("LSTM"), ((6,),), dtype="int32"),
    Pattern("masked GRU", masked("GRU"), ((6,),), dtype="int32"),
    Pattern("masked SimpleRNN", masked("SimpleRNN"), ((6,),), dtype="int32"),
    Pattern("backwards, free length", recurrent("LSTM", go_backwards=True), ((None, 4),)),
    Pattern("masked LSTM, traced", traced_recurrent("LSTM"), (STEPS,), spellings=("3",)),
    Pattern("masked GRU, traced", traced_recurrent("GRU"), (STEPS,), spellings=("3",)),
    Pattern("ConvLSTM", layer("ConvLSTM2D", 2, 3), ((3, 6, 6, 2),)),
)

ATTENTION = (
    Pattern("attention", dot_attention, (STEPS,)),
    Pattern("multi-head attention and a dense block", attention, (STEPS,)),
    Pattern("layer norm", sequence(CONV, ("LayerNormalization",))),
    Pattern("layer norm over all axes", layer("LayerNormalization", axis=[1, 2, 3])),
    Pattern("group norm", sequence(CONV, ("GroupNormalization", 2))),
    Pattern("unit norm", layer("UnitNormalization")),
    Pattern(
        "grouped query attention, traced",
        lambda keras, x: keras.layers.GroupQueryAttention(3, 4, 2)(x, x),
        (STEPS,),
        spellings=("3",),
    ),
    Pattern("RMS norm", sequence(CONV, ("RMSNormalization",)), spellings=("3",)),
)

OPERATIONS = (
    Pattern("operators between layers", operators),
    Pattern("keras.ops", keras_ops, spellings=("3",)),
    Pattern("keras.ops that Keras 2 lacks, traced", traced_operations, spellings=("3",)),
    Pattern(
        "a block of all that traces spell otherwise",
        traced_block,
        spellings=("3",),
        computes_sizes="the form of TensorFlow 1.15 for a transposed convolution of a free batch",
    ),
    Pattern("TensorFlow's functions", tf_operations, spellings=("2",)),
    Pattern("add, subtract, multiply, maximum", joins),
)
