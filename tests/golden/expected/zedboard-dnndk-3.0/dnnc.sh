#!/bin/bash
# Compiles the quantized graph for the DPU of ZedBoard with dnnc of DNNDK 3.0.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

die() {
  echo "dnnc.sh: $*" >&2
  exit 1
}

need_file() {
  [ -e "$1" ] || die "$1 is not here; $2"
}

command -v dnnc >/dev/null || die "dnnc is not on PATH; install the host tools of DNNDK 3.0 first (README.md)"
need_file quantize_results/deploy_model.pb "run ./decent_q.sh first"

mkdir -p compile
dnnc \
  --parser=tensorflow \
  --frozen_pb=quantize_results/deploy_model.pb \
  --dpu=1152FA \
  --cpu_arch=arm32 \
  --mode=normal \
  --save_kernel \
  --output_dir=compile \
  --net_name=tiny_cnn

echo "dnnc.sh: done; the result is in compile/"
