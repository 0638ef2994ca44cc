"""The dataset and the preprocessing of the configuration, as the library's values."""

from __future__ import annotations

from dnndk_prep.config import Config
from dnndk_prep.data.datasets import Dataset, open_dataset
from dnndk_prep.data.preprocess import Preprocess


def preprocess(cfg: Config) -> Preprocess:
    """The one preprocessing that every stage uses."""
    section = cfg.preprocess
    if section.mode is not None:
        return Preprocess.from_mode(section.mode, resize=section.resize, crop=section.crop)
    return Preprocess(
        resize=section.resize,
        crop=section.crop,
        channels=section.channels or "rgb",
        scale=1.0 if section.scale is None else section.scale,
        mean=section.mean or (0.0,),
        std=section.std or (1.0,),
    )


def dataset(cfg: Config) -> Dataset:
    """The configured dataset; ModelFileError if it cannot be opened."""
    return open_dataset(cfg.dataset.name, cfg.dataset.path, cfg.dataset.masks, seed=cfg.seed)
