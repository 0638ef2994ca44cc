"""Quantizes with the TFLite converter and runs it: quantize_tflite.py FILE.pb IMAGES.npy INPUT OUTPUT BATCH."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator

import numpy as np
import tensorflow as tf


def main() -> None:
    graph, images, source, output, size = sys.argv[1:]
    data = np.load(images, mmap_mode="r")

    def examples() -> Iterator[list[np.ndarray]]:
        for start in range(0, len(data), int(size)):
            yield [np.array(data[start : start + int(size)])]

    start = time.perf_counter()
    lite = tf.compat.v1.lite.TFLiteConverter
    converter = lite.from_frozen_graph(graph, [source], [output], {source: [int(size), *data.shape[1:]]})
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = examples
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    content = converter.convert()
    middle = time.perf_counter()
    interpreter = tf.lite.Interpreter(model_content=content, num_threads=len(os.sched_getaffinity(0)))
    interpreter.allocate_tensors()
    fed, got = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    for (batch,) in examples():
        interpreter.set_tensor(fed["index"], batch)
        interpreter.invoke()
        interpreter.get_tensor(got["index"])
    print(json.dumps({"calibrate": middle - start, "run": time.perf_counter() - middle}))


if __name__ == "__main__":
    main()
