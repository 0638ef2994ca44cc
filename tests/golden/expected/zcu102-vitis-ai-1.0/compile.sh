#!/bin/bash
# Compiles the quantized graph for the DPU of ZCU102 with vai_c_tensorflow of Vitis AI 1.0.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

die() {
  echo "compile.sh: $*" >&2
  exit 1
}

need_file() {
  [ -e "$1" ] || die "$1 is not here; $2"
}

# In this release the compiler is a Python script that is not on PATH.
vai_c() {
  if command -v vai_c_tensorflow >/dev/null; then
    vai_c_tensorflow "$@"
  elif [ -f /opt/vitis_ai/compiler/vai_c_tensorflow ]; then
    python /opt/vitis_ai/compiler/vai_c_tensorflow "$@"
  else
    die "vai_c_tensorflow is not here; run this in the container of Vitis AI 1.0 after: conda activate vitis-ai-tensorflow"
  fi
}
need_file arch.json "copy the whole folder, not single files"
need_file quantize_results/deploy_model.pb "run ./quantize.sh first"
[ -f /opt/vitis_ai/compiler/arch/dpuv2/ZCU102/ZCU102.dcf ] ||
  echo "compile.sh: note: this container has no /opt/vitis_ai/compiler/arch/dpuv2/ZCU102/ZCU102.dcf; put the right path into arch.json" >&2

mkdir -p compile
vai_c \
  -f quantize_results/deploy_model.pb \
  -a arch.json \
  -o compile \
  -n tiny_cnn \
  --options "{'mode':'normal'}"

echo "compile.sh: done; the result is in compile/"
