"""What an architecture declares to be large: a lower bound of each layer's weights, and limits on its other numbers.

Keras makes room for all of it while it builds a layer, before it looks at a single stored weight.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Config = dict[str, Any]

# Weights of one layer: 2 GiB of float32, the most that a frozen graph can hold.
MAX_WEIGHTS = 2**29
# Fewer do no harm, even if the weights are those of another model.
FREE_WEIGHTS = 2**22
# Numbers in one tensor of a declared shape: 512 MiB of float32.
MAX_TENSOR = 2**27
# Numbers in an input, of which several examples are kept at once: 4 700 x 4 700 pixels in three channels.
MAX_INPUT = 2**26
INPUT_SHAPES = ("batch_shape", "batch_input_shape")
# Far more than a tensor has axes, or a model inputs.
MAX_AXES = 10_000
# Numbers in the states that a stateful layer keeps for a whole batch; Keras makes room for them with its weights.
MAX_STATES = 2**24
# What may give an axis its length.
STEP_KEYS = (*INPUT_SHAPES, "input_length", "n", "target_shape", "padding", "output_size")
# Beyond this all is too large; a number of 4 000 digits takes its time.
MAX_NUMBER = 2**63
# A loop that is unrolled gets a dozen nodes a step.
MAX_UNROLLED = 512
# UpSampling1D and UpSampling3D of Keras 2 cut an axis into its elements, and list each as often as it comes again.
MAX_REPEATED = 2**17
# Keras 3 calls the layer in a TimeDistributed once a step, which takes milliseconds.
MAX_STEPS = 8192

# Recurrent layers: how many matrices of units x units they have.
GATES: Mapping[str, int] = {"SimpleRNN": 1, "GRU": 3, "LSTM": 4}
# Layers of which some settings (by their names in Keras 2 and 1) multiplied are weights.
PRODUCTS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    **dict.fromkeys(("Embedding", "ReversibleEmbedding"), (("input_dim",), ("output_dim",))),
    "Dense": (("units", "output_dim"),),
    "MaxoutDense": (("units", "output_dim"), ("nb_feature",)),
    "MultiHeadAttention": (("num_heads",), ("key_dim",)),
    "LayerScale": (("projection_dim",),),
}

LIMITS: Mapping[str, int] = {
    **dict.fromkeys(("kernel_size", "pool_size", "pool_length", "strides", "dilation_rate", "subsample"), 2**16),
    **dict.fromkeys(("paddings", "pad_width", "multiples", "repeats"), 2**16),
    **dict.fromkeys(("padding", "cropping", "size", "length", "height", "width", "output_size"), 2**16),
    **dict.fromkeys(("groups", "depth_multiplier", "num_heads", "key_dim", "value_dim", "query_dim"), 2**20),
    **dict.fromkeys(("num_query_heads", "num_key_value_heads", "head_dim", "n", "input_length"), 2**20),
    **dict.fromkeys(("num_tokens", "max_tokens", "num_bins", "output_sequence_length", "pad_to_max_tokens"), 2**24),
    **dict.fromkeys(("fft_length", "frame_step", "frame_length", "sequence_length", "num_mel_bins"), 2**16),
    **dict.fromkeys(("power_iterations", "num_layers", "repeat_count", "num_ops"), 2**10),
}


def too_large(kind: str, config: Config, stored: int | None, seen: set[int]) -> Iterator[str]:
    """What is too large in a layer of class `kind`: at least more weights than the `stored` ones, if their number is
    known, or than any graph holds."""
    weights = least_weights(kind, config)
    if weights > MAX_WEIGHTS:
        yield f"at least {weights} weights"
    elif stored is not None and weights > max(stored, FREE_WEIGHTS):
        yield f"at least {weights} weights, where the file holds {stored} numbers"
    for key, value in config.items():
        yield from too_large_value(key, value, seen)


def too_large_value(key: str, value: Any, seen: set[int]) -> Iterator[str]:
    """What is too large in `value` as the setting `key` of a layer, or as a part of its build_config.

    seen: the ids of the lists and dicts that were looked at as shapes, and are not again.
    """
    if "shape" in key:
        yield from _large_shapes(key, value, seen)
    elif key in LIMITS and any(not number <= LIMITS[key] for number in _numbers(value)):
        yield f"{key} {reprlib.repr(value)}"


def unrolled_too_far(layers: list[Config]) -> str | None:
    """What makes too long a loop, if any of the layers' configs unrolls its own."""
    if not any(config.get("unroll") for config in layers):
        return None
    longest, what = 1, ""
    for config in layers:
        for key in STEP_KEYS:
            if (steps := _steps(key, config.get(key))) > longest:
                longest, what = steps, f"{key} {reprlib.repr(config[key])}"
    # Of UpSampling1D, which makes as many steps of each; those of other ranks are lists.
    factors = [config[key] for config in layers for key in ("size", "length") if isinstance(config.get(key), int)]
    if _product([longest, *map(_whole, factors)]) <= MAX_UNROLLED:
        return None
    return f"unroll with {what}" + (f" and {len(factors)} upsampling(s)" if factors else "")


def _steps(key: str, value: Any) -> int:
    """How many steps `value` may make: the axis after the batch, or in a target shape, without a batch, the first."""
    if isinstance(value, list) and key in INPUT_SHAPES:
        value = value[1:2]
    if isinstance(value, list) and key == "target_shape":
        value = value[:1] if len(value) > 1 else []
    return max(_numbers(value), default=1)


def too_many_steps(kinds: Iterable[tuple[str, Config]]) -> str | None:
    """What gives TimeDistributed layers too many steps: as many of the first axes as they are nested in each other."""
    pairs = list(kinds)
    wrappers = [config for kind, config in pairs if kind == "TimeDistributed"]
    inner = [config["layer"] for config in wrappers if isinstance(config.get("layer"), dict)]
    depth = 1 + sum(layer.get("class_name") == "TimeDistributed" for layer in inner)
    for _, config in pairs if wrappers else []:
        for key, first in (*((key, 1) for key in INPUT_SHAPES), ("target_shape", 0)):
            shape = config.get(key)
            if isinstance(shape, list) and _product(_numbers(shape[first : first + depth])) > MAX_STEPS:
                return f"TimeDistributed with {key} {reprlib.repr(shape)}"
    return None


def too_many_repeats(kinds: Iterable[tuple[str, Config]]) -> str | None:
    """What gives UpSampling1D or UpSampling3D layers too long an axis: the longest that the model tells of."""
    pairs = list(kinds)
    layers = [config for kind, config in pairs if kind in ("UpSampling1D", "UpSampling3D")]
    if not layers:
        return None
    factors = [max(_numbers(config.get("size", config.get("length", 2)))) for config in layers]
    is_open = any(-1 in _flat(config.get("target_shape")) for _, config in pairs)
    for _, config in pairs:
        for key in (*STEP_KEYS, "units", "output_dim"):
            sizes = _numbers(config.get(key))[1 if key in INPUT_SHAPES else 0 :]
            longest = _product(sizes) if is_open and key in INPUT_SHAPES else max(sizes, default=1)
            if _product([longest, *factors]) > MAX_REPEATED:
                return f"{len(factors)} upsampling(s) of {key} {reprlib.repr(config[key])}"
    return None


def too_many_states(kinds: Iterable[tuple[str, Config]]) -> str | None:
    """What gives a stateful layer too many states, of which it has some for each example of the batch.

    A convolution keeps them for each position of its input, too.
    """
    pairs = list(kinds)
    if not any(config.get("stateful") for _, config in pairs):
        return None
    keys = ("units", "filters", "output_dim", "nb_filter", "state_size")
    states = max((number for _, config in pairs for key in keys for number in _numbers(config.get(key))), default=1)
    is_convolution = any("Conv" in kind and "LSTM" in kind and config.get("stateful") for kind, config in pairs)
    for _, config in pairs:
        for key in INPUT_SHAPES:
            shape = config.get(key)
            if isinstance(shape, list) and shape:
                examples = _product(_numbers(shape)) if is_convolution else _whole(shape[0])
                if _product([examples, states]) > MAX_STATES:
                    return f"a stateful layer of {states} states with {key} {reprlib.repr(shape)}"
    return None


def least_weights(kind: str, config: Config) -> int:
    """A number of weights that a layer of class `kind` has at least, whatever its input is."""

    def number(*keys: str) -> int:
        return next((_whole(config[key]) for key in keys if key in config), 1)

    plain = kind.removeprefix("CuDNN").removesuffix("Cell")
    if plain in GATES:
        return GATES[plain] * number("units", "output_dim") ** 2
    if plain in PRODUCTS:
        return _product(number(*keys) for keys in PRODUCTS[plain])
    if plain == "EinsumDense":
        return _product(_whole(item) for item in _flat(config.get("output_shape")))
    if "Conv" in kind:
        kernel = _product(_kernel(kind, config)) if not kind.startswith("Separable") else 1
        filters = number("filters", "nb_filter") if "Depthwise" not in kind else number("depth_multiplier")
        return filters * max(kernel, 1) * (4 * filters if "LSTM" in kind else 1)
    return 1


def _kernel(kind: str, config: Config) -> list[int]:
    if "kernel_size" not in config:
        return [_whole(config[key]) for key in ("nb_row", "nb_col", "filter_length") if key in config]
    value = config["kernel_size"]
    rank = next((int(sign) for sign in kind if sign in "123"), 1)
    return [_whole(item) for item in value] if isinstance(value, list) else [_whole(value)] * rank


def _large_shapes(key: str, value: Any, seen: set[int]) -> Iterator[str]:
    limit = MAX_INPUT if key in INPUT_SHAPES else MAX_TENSOR
    if isinstance(value, dict | list):
        if id(value) in seen:
            return
        seen.add(id(value))
        if len(value) > MAX_AXES:
            yield f"{key} of {len(value)} sizes"
            return
        inner = value.values() if isinstance(value, dict) else value
        sizes = [] if isinstance(value, dict) else [_whole(one) for one in value if not isinstance(one, list | dict)]
        if _product(sizes) > limit:
            yield f"{key} {reprlib.repr(value)}"
        for item in inner:
            if isinstance(item, list | dict):
                yield from _large_shapes(key, item, seen)
    elif _whole(value) > limit:
        yield f"{key} {reprlib.repr(value)}"


def _product(numbers: Iterable[int]) -> int:
    product = 1
    for number in numbers:
        product = min(product * number, MAX_NUMBER)
    return product


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        for item in value:
            yield from _flat(item)
    else:
        yield value


def _numbers(value: Any) -> list[int]:
    return [_whole(item) for item in _flat(value)]


def _whole(value: Any) -> int:
    """The number that Keras may take `value` for: it calls int() on some settings, of floats and digits, too."""
    if type(value) is int:
        return min(max(value, 1), MAX_NUMBER)
    if isinstance(value, str) and len(value) > 20:
        return 1
    try:
        return min(max(int(value), 1), MAX_NUMBER)
    except OverflowError:
        return MAX_NUMBER
    except (ValueError, TypeError):
        return 1
