"""Counts the operators of an ONNX file, in the environment that has onnx: onnx_ops.py MODEL.onnx"""

from __future__ import annotations

import collections
import json
import sys

import onnx

model = onnx.load(sys.argv[1], load_external_data=False)
print(json.dumps(collections.Counter(node.op_type for node in model.graph.node)))
