"""Layers that Keras keeps beside its applications, and so does not know by name: ConvNeXt, Inception-ResNet."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

# Class -> the module of keras.src.applications that has it, in Keras 2 and Keras 3 alike. All of them only compute.
APPLICATION_LAYERS = {"LayerScale": "convnext", "CustomScaleLayer": "inception_resnet_v2"}


def application_layers(keras: ModuleType) -> dict[str, Any]:
    """The classes of `keras` (keras or tf_keras) by their names."""
    return {
        name: getattr(importlib.import_module(f"{keras.__name__}.src.applications.{module}"), name)
        for name, module in APPLICATION_LAYERS.items()
    }
