"""Refuses files that run code, read other files or fill the memory when they are opened; looks before any loader does.

Keras 2 runs the code of a Lambda layer in an .h5 while loading it, both Kerases import what a .keras archive names, and
HDF5 puts the bytes of any local file into a weight. Nothing here imports TensorFlow or Keras.
"""

from dnndk_prep.keras_io.scan.architecture import check_architecture, refuse_code
from dnndk_prep.keras_io.scan.calls import CONSTANT
from dnndk_prep.keras_io.scan.files import (
    HDF5_SIGNATURE,
    SAVE_AGAIN,
    ZIP_SIGNATURE,
    Contents,
    scan,
    scan_architecture,
    scan_weights,
    signature_of,
)
from dnndk_prep.keras_io.scan.rules import activations_of_tensorflow
from dnndk_prep.keras_io.scan.words import bare, names_of, shown

__all__ = [
    "CONSTANT",
    "HDF5_SIGNATURE",
    "SAVE_AGAIN",
    "ZIP_SIGNATURE",
    "Contents",
    "activations_of_tensorflow",
    "bare",
    "check_architecture",
    "names_of",
    "refuse_code",
    "scan",
    "scan_architecture",
    "scan_weights",
    "shown",
    "signature_of",
]
