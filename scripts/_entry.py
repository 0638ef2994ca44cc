"""Lets a script run from a checkout in which the package is not installed."""

import sys
from importlib.util import find_spec
from pathlib import Path

if find_spec("dnndk_prep") is None:
    sys.path.insert(1, str(Path(__file__).resolve().parent.parent))
