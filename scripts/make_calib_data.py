#!/usr/bin/env python
"""Writes calib_data/ anew: 100 class-balanced images from the training part of the sample, with their list."""

from pathlib import Path

from dnndk_prep.data.calibration_files import write_shipped_images

if __name__ == "__main__":
    write_shipped_images(Path(__file__).resolve().parent.parent / "calib_data")
