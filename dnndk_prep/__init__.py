"""From a trained Keras model to everything the Xilinx DPU tools need."""

__version__ = "0.1.0"
