#!/bin/bash
# Quantizes optimized_graph.pb to 8 bits with vai_q_tensorflow of Vitis AI 1.1.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

die() {
  echo "quantize.sh: $*" >&2
  exit 1
}

need_file() {
  [ -e "$1" ] || die "$1 is not here; $2"
}

command -v vai_q_tensorflow >/dev/null || die "vai_q_tensorflow is not on PATH; run this in the container of Vitis AI 1.1 after: conda activate vitis-ai-tensorflow"
need_file optimized_graph.pb "copy the whole folder, not single files"
need_file check.py "copy the whole folder, not single files"
need_file check_outputs.npz "copy the whole folder, not single files"
need_file input_fn.py "copy the whole folder, not single files"
need_file calib_list.txt "copy the whole folder, not single files"
need_file calib.npz "copy the whole folder, not single files"
need_file images "copy the whole folder, not single files"

# PYTHON=/path/to/python takes another one than that of the environment.
checked=0
"${PYTHON:-python}" check.py || checked=$?
case "$checked" in
  0) ;;
  1) die "vai_q_tensorflow was not started, see the line above" ;;
  *) echo "quantize.sh: note: the folder is not checked, see the line above" >&2 ;;
esac

# 10 iterations of 10: input_fn.py sets the batch.
vai_q_tensorflow quantize \
  --input_frozen_graph optimized_graph.pb \
  --input_nodes image \
  --input_shapes '?,32,32,3' \
  --output_nodes prob/Softmax \
  --input_fn input_fn.calib_input \
  --method 1 \
  --calib_iter 10 \
  --gpu 0 \
  --output_dir quantize_results

echo "quantize.sh: done; next: ./compile.sh"
