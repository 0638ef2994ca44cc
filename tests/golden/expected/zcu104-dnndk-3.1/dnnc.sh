#!/bin/bash
# Compiles the quantized graph for the DPU of ZCU104 with dnnc of DNNDK 3.1.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

die() {
  echo "dnnc.sh: $*" >&2
  exit 1
}

need_file() {
  [ -e "$1" ] || die "$1 is not here; $2"
}

command -v dnnc >/dev/null || die "dnnc is not on PATH; install the host tools of DNNDK 3.1 first (README.md)"
need_file quantize_results/deploy_model.pb "run ./decent_q.sh first"

# The hardware description of the board's DPU; DCF=/absolute/path takes another.
DCF="${DCF:-ZCU104.dcf}"
need_file "$DCF" "copy it from the DNNDK 3.1 package, or set DCF to its absolute path"

mkdir -p compile
dnnc \
  --parser=tensorflow \
  --frozen_pb=quantize_results/deploy_model.pb \
  --dcf="$DCF" \
  --cpu_arch=arm64 \
  --mode=normal \
  --save_kernel \
  --output_dir=compile \
  --net_name=tiny_cnn

echo "dnnc.sh: done; the result is in compile/"
