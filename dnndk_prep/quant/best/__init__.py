"""Quantization that loses less than the vendor's, within what the hardware and the compiler take."""
