"""The dataset and the preprocessing of the configuration, as the library's values."""

from __future__ import annotations

from dnndk_prep.config import Config
from dnndk_prep.data.datasets import Dataset, open_dataset
from dnndk_prep.data.preprocess import Preprocess


def preprocess(cfg: Config) -> Preprocess:
    """The one preprocessing that every stage uses."""
    return cfg.preprocess.value()


def dataset(cfg: Config) -> Dataset:
    """The configured dataset; ModelFileError if it cannot be opened."""
    return open_dataset(cfg.dataset.name, cfg.dataset.path, cfg.dataset.masks, seed=cfg.seed)
