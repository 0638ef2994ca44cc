"""Patterns of the battery: convolutions, pooling, padding, resizing and batch norms."""

from __future__ import annotations

from typing import Any

from battery.patterns import Build, Pattern

ODD = (13, 11, 4)


def layer(kind: str, *arguments: Any, **options: Any) -> Build:
    """A model of this one layer."""
    return lambda keras, x: getattr(keras.layers, kind)(*arguments, **options)(x)


def sequence(*layers: tuple[Any, ...]) -> Build:
    """Layers one after the other: (class, positional arguments..., {options})."""

    def build(keras: Any, x: Any) -> Any:
        for kind, *arguments in layers:
            options = arguments.pop() if arguments and isinstance(arguments[-1], dict) else {}
            x = getattr(keras.layers, kind)(*arguments, **options)(x)
        return x

    return build


CONV, NORM = ("Conv2D", 6, 3, {"padding": "same"}), ("BatchNormalization",)


def norm_after_concat(keras: Any, x: Any) -> Any:
    sides = [keras.layers.Conv2D(n, 3, padding="same", use_bias=n == 3)(x) for n in (3, 5)]
    return keras.layers.ReLU()(keras.layers.BatchNormalization()(keras.layers.Concatenate()(sides)))


def residual(keras: Any, x: Any) -> Any:
    layers = keras.layers
    y = layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same", use_bias=False)(x))
    x = layers.Add()([x, y])
    y = layers.Conv2D(4, 3, padding="same", use_bias=False)(layers.ReLU()(x))
    return layers.ReLU()(layers.Add()([x, y]))


def squeeze_excite(keras: Any, x: Any) -> Any:
    layers = keras.layers
    x = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
    gate = layers.Dense(2, activation="relu")(layers.GlobalAveragePooling2D()(x))
    gate = layers.Reshape((1, 1, 8))(layers.Dense(8, activation="sigmoid")(gate))
    return layers.Multiply()([x, gate])


def dense_blocks(keras: Any, x: Any) -> Any:
    layers = keras.layers
    for _ in range(2):
        y = layers.Conv2D(3, 3, padding="same")(layers.ReLU()(layers.BatchNormalization()(x)))
        x = layers.Concatenate()([x, y])
    return layers.Dense(3)(layers.GlobalAveragePooling2D()(layers.BatchNormalization()(x)))


def resize(method: str) -> Build:
    """keras.ops.image.resize, or tf.image.resize between layers."""

    def build(keras: Any, x: Any) -> Any:
        if keras.__name__ == "keras":
            return keras.ops.image.resize(x, (24, 36), interpolation=method, data_format="channels_last")
        import tensorflow as tf

        return tf.image.resize(x, (24, 36), method=method)

    return build


def old_resize(name: str, **options: Any) -> Build:
    """A resize of TensorFlow 1."""
    return lambda tf, x: getattr(tf.compat.v1.image, name)(x, (24, 36), **options)


def transposed(tf: Any, x: Any) -> Any:
    """A transposed convolution as TensorFlow writes it for a fixed batch, its size computed from Shape."""
    import numpy as np

    kernel = np.random.default_rng(2).normal(size=(3, 3, 6, 4)).astype(np.float32)
    batch = tf.shape(x)[0]
    return tf.nn.conv2d_transpose(x, kernel, tf.stack([batch, 24, 24, 6]), 2)


CONVOLUTIONS = (
    Pattern("convolution", layer("Conv2D", 6, 3, activation="relu")),
    Pattern("convolution without bias, SAME", layer("Conv2D", 6, 3, padding="same", use_bias=False)),
    Pattern("convolution, odd size, SAME, stride 2", layer("Conv2D", 6, 3, 2, "same"), (ODD,)),
    Pattern("convolution, even size, SAME, stride 2", layer("Conv2D", 6, 3, 2, "same")),
    Pattern("convolution, kernel 5x2, stride 3x2", layer("Conv2D", 6, (5, 2), (3, 2), "same"), (ODD,)),
    Pattern("convolution, free height and width", sequence(CONV, NORM, ("ReLU",)), ((None, None, 4),)),
    Pattern("separable convolution", layer("SeparableConv2D", 6, 3, padding="same", activation="relu")),
    Pattern("depthwise convolution", sequence(("DepthwiseConv2D", 3, 2, "same"), NORM, ("ReLU", 6.0))),
    Pattern("depthwise convolution, multiplier 2", sequence(("DepthwiseConv2D", 3, {"depth_multiplier": 2}), NORM)),
    Pattern("grouped convolution", sequence(("Conv2D", 6, 3, {"groups": 2, "padding": "same"}), NORM, ("ReLU",))),
    Pattern("grouped convolution, a group each channel", layer("Conv2D", 8, 3, groups=4, strides=2)),
    Pattern(
        "dilated convolution", sequence(("Conv2D", 6, 3, {"dilation_rate": 2, "padding": "same"}), NORM, ("ReLU",))
    ),
    Pattern("dilated convolution, VALID, 2x3", layer("Conv2D", 6, 3, dilation_rate=(2, 3)), (ODD,)),
    Pattern("dilated convolution, odd size", layer("Conv2D", 6, 3, dilation_rate=2, padding="same"), (ODD,)),
    Pattern(
        "dilated convolution, free height and width",
        layer("Conv2D", 6, 3, dilation_rate=2, padding="same"),
        ((None, None, 4),),
    ),
    Pattern("dilated depthwise convolution", layer("DepthwiseConv2D", 3, dilation_rate=2, padding="same")),
    Pattern(
        "transposed convolution",
        sequence(("Conv2DTranspose", 6, 3, 2, "same"), NORM, ("ReLU",)),
        computes_sizes="the form of TensorFlow 1.15 for a free batch",
    ),
    Pattern("transposed convolution, fixed batch", transposed, spellings=("graph",), batch=1),
    Pattern("transposed convolution, VALID", layer("Conv2DTranspose", 6, 4, 2), computes_sizes="the batch is free"),
    Pattern(
        "transposed convolution, free height and width",
        layer("Conv2DTranspose", 6, 3, 2, "same"),
        ((None, None, 4),),
    ),
    Pattern("1-D convolution", sequence(("Conv1D", 6, 3, {"padding": "same"}), NORM, ("ReLU",)), ((12, 4),)),
    Pattern("1-D convolution, causal, dilated", layer("Conv1D", 6, 3, padding="causal", dilation_rate=2), ((12, 4),)),
    Pattern("1-D separable convolution", layer("SeparableConv1D", 6, 3), ((12, 4),)),
    Pattern(
        "1-D transposed convolution",
        layer("Conv1DTranspose", 6, 3, 2, "same"),
        ((12, 4),),
        computes_sizes="the form of TensorFlow 1.15 for a free batch",
    ),
    Pattern("3-D convolution", sequence(("Conv3D", 3, 2), NORM), ((5, 5, 5, 2),)),
)

POOLS = (
    Pattern("max pooling, VALID", layer("MaxPooling2D", 3, 2)),
    Pattern("max pooling, SAME", layer("MaxPooling2D", 3, 2, "same"), (ODD,)),
    Pattern("average pooling, VALID", layer("AveragePooling2D", 3, 2)),
    Pattern("average pooling, SAME", layer("AveragePooling2D", 3, 2, "same"), (ODD,)),
    Pattern("1-D pooling", sequence(("MaxPooling1D", 2), ("AveragePooling1D", 2)), ((12, 4),)),
    Pattern("global average pooling", sequence(("GlobalAveragePooling2D",), ("Dense", 3))),
    Pattern("global average pooling, axes kept", layer("GlobalAveragePooling2D", keepdims=True)),
    Pattern("global max pooling", layer("GlobalMaxPooling2D")),
    Pattern("zero padding, each side another", sequence(("ZeroPadding2D", ((1, 0), (2, 3))), ("Conv2D", 6, 3, 2))),
    Pattern("cropping", layer("Cropping2D", ((1, 0), (2, 3)))),
)

RESIZES = (
    Pattern("up-sampling, nearest", sequence(("UpSampling2D", 2), CONV)),
    Pattern("up-sampling, nearest, 3x2, fixed batch", layer("UpSampling2D", (3, 2)), batch=1),
    Pattern("up-sampling, nearest, free height and width", layer("UpSampling2D", 2), ((None, None, 4),)),
    Pattern("up-sampling, bilinear", sequence(("UpSampling2D", 2, {"interpolation": "bilinear"}), CONV)),
    Pattern("up-sampling, bilinear, 3x4", layer("UpSampling2D", (3, 4), interpolation="bilinear")),
    Pattern(
        "up-sampling, bilinear, free height and width",
        layer("UpSampling2D", 2, interpolation="bilinear"),
        ((None, None, 4),),
        ("2",),
    ),
    Pattern("1-D up-sampling", layer("UpSampling1D", 2), ((6, 4),)),
    Pattern("resize, bilinear, half pixels, no whole factor", layer("Resizing", 7, 18)),
    Pattern("resize, nearest, half pixels, no whole factor", layer("Resizing", 7, 18, "nearest")),
    Pattern("resize between layers, bilinear, half pixels", resize("bilinear")),
    Pattern("resize between layers, nearest, half pixels", resize("nearest")),
    Pattern("resize, bilinear, without half pixels", old_resize("resize_bilinear"), spellings=("graph",)),
    Pattern(
        "resize, bilinear, corners aligned", old_resize("resize_bilinear", align_corners=True), spellings=("graph",)
    ),
    Pattern("resize, nearest, without half pixels", old_resize("resize_nearest_neighbor"), spellings=("graph",)),
)

NORMS = (
    Pattern("batch norm before relu", sequence(CONV, NORM, ("ReLU",))),
    Pattern("batch norm after relu", sequence(CONV, ("ReLU",), NORM, ("Conv2D", 3, 1))),
    Pattern("batch norm after concat", norm_after_concat),
    Pattern("batch norm after max pooling", sequence(CONV, ("MaxPooling2D", 2), NORM, ("ReLU",))),
    Pattern("batch norm after average pooling", sequence(CONV, ("AveragePooling2D", 2), NORM, ("ReLU",))),
    Pattern("batch norm before global pooling", sequence(("ReLU",), NORM, ("GlobalAveragePooling2D",), ("Dense", 3))),
    Pattern("batch norm alone", sequence(NORM)),
    Pattern("batch norm of vectors alone", sequence(NORM, ("ReLU",)), ((5,),)),
    Pattern("batch norm on Dense", sequence(("Dense", 6), NORM, ("ReLU",), NORM, ("Dense", 3)), ((5,),)),
    Pattern("batch norm on separable", sequence(("SeparableConv2D", 6, 3), NORM, ("ReLU",))),
    Pattern("batch norm without scale", sequence(CONV, ("BatchNormalization", {"scale": False}))),
    Pattern("batch norm without center", sequence(CONV, ("BatchNormalization", {"center": False}))),
    Pattern("batch norm with neither", sequence(CONV, ("BatchNormalization", {"center": False, "scale": False}))),
    Pattern("residual sums", residual),
    Pattern("dense blocks, batch norms first", dense_blocks),
    Pattern("squeeze-excite", squeeze_excite),
)
