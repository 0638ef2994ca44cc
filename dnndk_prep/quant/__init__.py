"""Quantization to the DPU's integers with power-of-two steps: the vendor's result on the host, and what it costs."""
