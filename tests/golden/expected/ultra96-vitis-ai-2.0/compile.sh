#!/bin/bash
# Compiles the quantized graph for the DPU of Ultra96 with vai_c_tensorflow of Vitis AI 2.0.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

die() {
  echo "compile.sh: $*" >&2
  exit 1
}

need_file() {
  [ -e "$1" ] || die "$1 is not here; $2"
}

command -v vai_c_tensorflow >/dev/null || die "vai_c_tensorflow is not on PATH; run this in the container of Vitis AI 2.0 after: conda activate vitis-ai-tensorflow"
need_file arch.json "copy the whole folder, not single files"
need_file quantize_results/quantize_eval_model.pb "run ./quantize.sh first"

mkdir -p compile
vai_c_tensorflow \
  -f quantize_results/quantize_eval_model.pb \
  -a arch.json \
  -o compile \
  -n tiny_cnn

echo "compile.sh: done; the result is in compile/"
