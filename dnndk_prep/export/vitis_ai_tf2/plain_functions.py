"""Operations between layers as Keras 2.8 holds them: products and sums with numbers, and functions of TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dnndk_prep.keras_io.architecture import Config

TF_LAMBDA, SLICING = "TFOpLambda", "SlicingOpLambda"
# Class, function of TensorFlow, and what it is called with beside the tensor.
Function = tuple[str, str, Config]


def number_of(value: Any) -> float | list[float] | None:
    """A number, or one for each channel; None for anything else."""
    if isinstance(value, dict) and "array" in value:
        value = value["array"]
    if isinstance(value, list):
        return [float(item) for item in value] if all(isinstance(item, int | float) for item in value) else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def rescaling(scale: float | list[float], offset: float | list[float] = 0.0) -> Config:
    """The settings of a Rescaling."""
    return {"scale": scale, "offset": offset}


def with_number(op: str, number: float | list[float], is_first: bool) -> tuple[str, Config] | None:
    """The layer for an operation of a tensor (the first argument or the second) and a number."""
    numbers = number if isinstance(number, list) else [number]

    def each(values: list[float]) -> float | list[float]:
        return values if isinstance(number, list) else values[0]

    forms: Mapping[str, Config | None] = {
        "add": rescaling(1.0, number),
        "subtract": rescaling(1.0, each([-n for n in numbers])) if is_first else rescaling(-1.0, number),
        "multiply": rescaling(number),
        "divide": rescaling(each([1 / n for n in numbers])) if is_first and all(numbers) else None,
    }
    if op == "maximum" and number == 0.0:
        return "ReLU", {"max_value": None, "negative_slope": 0.0, "threshold": 0.0}
    config = forms.get(op)
    return None if config is None else ("Rescaling", config)


def function_of(op: str, values: Config) -> Function | None:
    """The function of an operation whose first argument is its one tensor; None where there is none for `values`."""
    first, rest = (
        values.get("x", values.get("a")),
        {key: value for key, value in values.items() if key not in ("x", "a")},
    )
    is_tensor = isinstance(first, dict) and "tensor" in first
    return FUNCTIONS[op](rest) if op in FUNCTIONS and is_tensor else None


def _plain(name: str, **keys: str) -> Callable[[Config], Function | None]:
    """A function called with those of an operation's values, by the names of `keys`, that hold no tensor."""

    def function(values: Config) -> Function | None:
        if set(values) - set(keys) or any(isinstance(value, dict) for value in values.values()):
            return None
        return TF_LAMBDA, name, {keys[key]: value for key, value in values.items() if value is not None}

    return function


def _power(values: Config) -> Function | None:
    exponent = number_of(values.get("b"))
    return (TF_LAMBDA, "math.pow", {"y": exponent}) if isinstance(exponent, float) else None


def _get_item(values: Config) -> Function | None:
    key = values["key"] if isinstance(values["key"], list) else [values["key"]]
    spec: list[Any] = []
    for part in key:
        if isinstance(part, int) and not isinstance(part, bool):
            spec.append(part)
        elif isinstance(part, dict) and set(part) == {"slice"}:
            spec.append(dict(zip(("start", "stop", "step"), part["slice"], strict=True)))
        else:
            return None
    return SLICING, "__operators__.getitem", {"slice_spec": spec}


# Operation of one tensor -> the function for the operation's other values.
FUNCTIONS: Mapping[str, Callable[[Config], Function | None]] = {
    "absolute": _plain("math.abs"),
    "expand_dims": _plain("expand_dims", axis="axis"),
    "get_item": _get_item,
    "log": _plain("math.log"),
    **dict.fromkeys(("log_softmax", "keras3_log_softmax"), _plain("nn.log_softmax", axis="axis")),
    **dict.fromkeys(("mean", "keras3_mean"), _plain("math.reduce_mean", axis="axis", keepdims="keepdims")),
    "max": _plain("math.reduce_max", axis="axis", keepdims="keepdims"),
    "min": _plain("math.reduce_min", axis="axis", keepdims="keepdims"),
    "power": _power,
    "reciprocal": _plain("math.reciprocal"),
    "rsqrt": _plain("math.rsqrt"),
    "sqrt": _plain("math.sqrt"),
    "squeeze": _plain("squeeze", axis="axis"),
    **dict.fromkeys(("sum", "keras3_sum"), _plain("math.reduce_sum", axis="axis", keepdims="keepdims")),
    "tile": _plain("tile", repeats="multiples"),
}
