"""Quantizes with onnxruntime and runs it: quantize_onnxruntime.py FILE.onnx OUT.onnx IMAGES.npy INPUT OUTPUT BATCH."""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static


class Reader(CalibrationDataReader):
    """The images, a batch a call."""

    def __init__(self, data: np.ndarray, source: str, size: int) -> None:
        self._batches = iter([(source, data, start, start + size) for start in range(0, len(data), size)])

    def get_next(self) -> dict[str, np.ndarray] | None:
        for source, data, start, stop in self._batches:
            return {source: np.array(data[start:stop])}
        return None


def main() -> None:
    graph, out, images, source, output, size = sys.argv[1:]
    data, source, output = np.load(images, mmap_mode="r"), f"{source}:0", f"{output}:0"
    kinds = {"quant_format": QuantFormat.QDQ, "activation_type": QuantType.QInt8, "weight_type": QuantType.QInt8}
    start = time.perf_counter()
    quantize_static(graph, out, Reader(data, source, int(size)), **kinds)
    middle = time.perf_counter()
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    reader = Reader(data, source, int(size))
    while (batch := reader.get_next()) is not None:
        session.run([output], batch)
    print(json.dumps({"calibrate": middle - start, "run": time.perf_counter() - middle}))


if __name__ == "__main__":
    main()
