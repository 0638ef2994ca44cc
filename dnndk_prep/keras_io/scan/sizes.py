"""What an architecture declares to be large: a lower bound of each layer's weights, and limits on its other numbers.

Keras makes room for all of it while it builds a layer, before it looks at a single stored weight.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Config = dict[str, Any]

# Weights of one layer: 2 GiB of float32, the most that a frozen graph can hold.
MAX_WEIGHTS = 2**29
# Fewer do no harm, even if the weights are those of another model.
FREE_WEIGHTS = 2**22
# Numbers in one tensor of a declared shape: 512 MiB of float32.
MAX_TENSOR = 2**27
# A loop that is unrolled gets a dozen nodes a step.
MAX_UNROLLED = 4096

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


def too_large(kind: str, config: Config, stored: int | None) -> Iterator[str]:
    """What is too large in a layer of class `kind`: at least more weights than the `stored` ones, if their number is
    known, or than any graph holds."""
    weights = least_weights(kind, config)
    if weights > MAX_WEIGHTS:
        yield f"at least {weights} weights"
    elif stored is not None and weights > max(stored, FREE_WEIGHTS):
        yield f"at least {weights} weights, where the file holds {stored} numbers"
    for key, value in config.items():
        yield from too_large_value(key, value)


def too_large_value(key: str, value: Any) -> Iterator[str]:
    """What is too large in `value` as the setting `key` of a layer, or as a part of its build_config."""
    if "shape" in key:
        yield from _large_shapes(key, value)
    elif key in LIMITS and any(not number <= LIMITS[key] for number in _numbers(value)):
        yield f"{key} {str(value)[:80]}"


def unrolled_too_far(layers: list[Config]) -> str | None:
    """What makes too long a loop, if any of the layers' configs unrolls its own."""
    if not any(config.get("unroll") for config in layers):
        return None
    for config in layers:
        for key in ("batch_shape", "batch_input_shape", "input_length", "n"):
            value = config.get(key)
            steps = value[1:2] if isinstance(value, list) else value
            if any(number > MAX_UNROLLED for number in _numbers(steps)):
                return f"unroll with {key} {str(value)[:80]}"
    return None


def least_weights(kind: str, config: Config) -> int:
    """A number of weights that a layer of class `kind` has at least, whatever its input is."""

    def number(*keys: str) -> int:
        found = [_whole(config[key]) for key in keys if key in config]
        return found[0] if found else 1

    units = number("units", "output_dim")
    rules: dict[str, Callable[[], int]] = {
        "Embedding": lambda: number("input_dim") * number("output_dim"),
        "ReversibleEmbedding": lambda: number("input_dim") * number("output_dim"),
        "EinsumDense": lambda: math.prod(_whole(item) for item in _flat(config.get("output_shape"))),
        "Dense": lambda: units,
        "MaxoutDense": lambda: units * number("nb_feature"),
        "SimpleRNN": lambda: units * units,
        "GRU": lambda: 3 * units * units,
        "LSTM": lambda: 4 * units * units,
        "MultiHeadAttention": lambda: number("num_heads") * number("key_dim"),
    }
    plain = kind.removeprefix("CuDNN").removesuffix("Cell")
    if plain in rules:
        return rules[plain]()
    if "Conv" in kind:
        kernel = math.prod(_kernel(kind, config)) if not kind.startswith("Separable") else 1
        filters = number("filters", "nb_filter") if "Depthwise" not in kind else number("depth_multiplier")
        return filters * max(kernel, 1) * (4 * filters if "LSTM" in kind else 1)
    return 1


def _kernel(kind: str, config: Config) -> list[int]:
    if "kernel_size" not in config:
        return [_whole(config[key]) for key in ("nb_row", "nb_col", "filter_length") if key in config]
    value = config["kernel_size"]
    rank = next((int(sign) for sign in kind if sign in "123"), 1)
    return [_whole(item) for item in value] if isinstance(value, list) else [_whole(value)] * rank


def _large_shapes(key: str, value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _large_shapes(key, inner)
    elif isinstance(value, list):
        if math.prod(max(_whole(item), 1) for item in value if not isinstance(item, list | dict)) > MAX_TENSOR:
            yield f"{key} {str(value)[:80]}"
        for inner in value:
            yield from _large_shapes(key, inner)
    elif _whole(value) > MAX_TENSOR:
        yield f"{key} {str(value)[:80]}"


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
    if isinstance(value, str) and len(value) > 20:
        return 1
    try:
        return max(int(value), 1)
    except OverflowError:
        return 2**63
    except (ValueError, TypeError):
        return 1
