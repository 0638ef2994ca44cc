"""Calibrates by the vendor's rules and runs the result: quantize_ours.py FILE.pb IMAGES.npy INPUT OUTPUT BATCH."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dnndk_prep.graph.sources import read_source
from dnndk_prep.graph.weights import weights_apart
from dnndk_prep.quant.settings import Settings
from dnndk_prep.quant.simulation import Simulation
from dnndk_prep.quant.vendor import plan, quantize


def main() -> None:
    graph, images, source, output, size = sys.argv[1:]
    data = np.load(images, mmap_mode="r")

    def batches() -> Iterator[dict[str, np.ndarray]]:
        for start in range(0, len(data), int(size)):
            yield {source: np.array(data[start : start + int(size)])}

    with weights_apart():
        start = time.perf_counter()
        made = plan(
            read_source(Path(graph)).graph_def, [source], [output], {source: [None, *data.shape[1:]]}, Settings()
        )
        quantized = quantize(made, batches())
        middle = time.perf_counter()
        with Simulation(quantized.nodes, made.prepared.outputs) as simulation:
            for batch in batches():
                simulation.outputs(batch)
    print(json.dumps({"calibrate": middle - start, "run": time.perf_counter() - middle}))


if __name__ == "__main__":
    main()
