"""Runs scripts of bundles one after another as `python SCRIPT` would, in one process; for old Pythons and TensorFlows.

Reads [[script, sys.path entries], ...] in JSON from stdin, writes [[exit code, stdout, stderr], ...] as the last line.
"""

import contextlib
import io
import json
import runpy
import sys
import traceback
from pathlib import Path

BUNDLE_MODULES = ("input_fn", "check", "tensorflow_model_optimization")


def run(script, more):
    for name in [name for name in sys.modules if name.split(".")[0] in BUNDLE_MODULES]:
        del sys.modules[name]
    before, out, err, code = list(sys.path), io.StringIO(), io.StringIO(), 0
    sys.path[:0] = [str(Path(script).parent), *more]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        code = end.code or 0
    except Exception:
        code, err = 99, io.StringIO(traceback.format_exc())
    sys.path[:] = before
    return [code, out.getvalue(), err.getvalue()]


if __name__ == "__main__":
    results = [run(script, more) for script, more in json.load(sys.stdin)]
    print(json.dumps(results))
