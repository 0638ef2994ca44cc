#!/bin/bash
# Compiles the quantized model for the DPU of ZCU104 with vai_c_tensorflow2 of Vitis AI 3.5.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

die() {
  echo "compile.sh: $*" >&2
  exit 1
}

need_file() {
  [ -e "$1" ] || die "$1 is not here; $2"
}

command -v vai_c_tensorflow2 >/dev/null || die "vai_c_tensorflow2 is not on PATH; run this in the container of Vitis AI 3.5 after: conda activate vitis-ai-tensorflow2"
need_file arch.json "copy the whole folder, not single files"
need_file quantize_results/quantized_model.h5 "run python quantize.py first"

mkdir -p compile
vai_c_tensorflow2 \
  -m quantize_results/quantized_model.h5 \
  -a arch.json \
  -o compile \
  -n tiny_cnn

echo "compile.sh: done; the result is in compile/"
