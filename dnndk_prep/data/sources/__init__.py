"""Where datasets come from: one module a source."""

from __future__ import annotations

from dataclasses import dataclass

from dnndk_prep.data.parts import Part


@dataclass(frozen=True)
class Dataset:
    """A dataset's two parts, which share no example, and its class names (empty where they are not known)."""

    name: str
    train: Part
    test: Part
    class_names: tuple[str, ...]
