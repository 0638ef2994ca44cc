"""What the tables say of Keras 2.8 and 2.12 is what these Kerases say of themselves."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import tf_keras
from environments import without_tensorflow

from dnndk_prep.export.vitis_ai_tf2.plain_functions import FUNCTIONS, TF_LAMBDA, function_of
from dnndk_prep.export.vitis_ai_tf2.plain_tables import ACTIVATIONS, MERGES, NEWER_KEYS, NEWER_LAYERS, UNARY

WORKER = Path(__file__).with_name("keras2_layers.py")
# Keys that Keras 2 does not have by itself: of a layer of the library.
OWN = {"half_pixel_centers"}


# What functions of TensorFlow float models name.
VALUES = {"power": {"b": 2.0}, "get_item": {"key": [1]}}
MADE = [function_of(op, {"a" if op == "power" else "x": {"tensor": 0}, **VALUES.get(op, {})}) for op in FUNCTIONS]
NAMES = sorted({made[1] for made in MADE if made and made[0] == TF_LAMBDA})


@pytest.fixture(scope="module")
def told(old_python):
    """Layer -> its keys, and the activations, of each Keras."""
    found = {}
    for name in ("keras-2.8", "keras-2.12"):
        command = [old_python(name), "-W", "ignore", WORKER, *NAMES]
        done = subprocess.run(command, capture_output=True, text=True, env=without_tensorflow(), check=True)
        found[name] = json.loads(done.stdout)
    namespace: dict = {"__name__": "today"}
    exec(WORKER.read_text(), namespace)
    found["today"] = namespace["told"](tf_keras)
    return found


def test_layers_and_keys_that_are_newer(told):
    old, today = (told[name]["layers"] for name in ("keras-2.8", "today"))
    assert set(NEWER_LAYERS) == set(today) - set(old) - {"Identity"}
    for container in ("keras-2.8", "keras-2.12"):
        there = told[container]["layers"]
        for kind in old:
            unknown = set(today[kind]) - set(there[kind])
            assert unknown - {"encoding"} <= set(NEWER_KEYS.get(kind, {})), kind
    for kind, keys in NEWER_KEYS.items():
        known = [set(told[name]["layers"][kind]) for name in ("keras-2.8", "keras-2.12")]
        assert set(keys) - OWN <= set(today[kind]) | known[0] | known[1]
        assert not set(keys) & known[0] & known[1], kind


def test_what_models_are_rewritten_to_is_there(told):
    for name in ("keras-2.8", "keras-2.12"):
        assert set(ACTIVATIONS.values()) <= set(told[name]["activations"])
        assert all(MADE)
        assert told[name]["unknown"] == []
        assert set(MERGES.values()) <= set(told[name]["layers"])
        values = {"x": {"tensor": 0}, "low": 0, "high": 6, "alpha": 0.3, "axis": [1, 2], "keepdims": True}
        values |= {"shape": [-1, 4], "order": [0, 2, 1], "width": [[0, 0], [1, 1], [0, 0]], "size": [4, 4]}
        values |= {"pool_size": [2, 2]}
        for op, form in UNARY.items():
            for kind, config in form(values) or []:
                assert set(config) <= set(told[name]["layers"][kind]), (op, kind)
