"""Start-up noise goes, everything else stays."""

import os
import subprocess
import sys


def test_only_the_noise_is_dropped():
    code = (
        "import os\nfrom dnndk_prep.quiet import quiet_start\n"
        "with quiet_start():\n"
        "    os.write(2, b'I0000 1 cudart_stub.cc:31] Could not find cuda drivers\\nsomething broke\\n')\n"
        "os.write(2, b'after\\n')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "something broke\nafter\n"


def test_what_was_held_is_written_when_the_body_fails():
    code = (
        "import os\nfrom dnndk_prep.quiet import quiet_start\n"
        "with quiet_start():\n    os.write(2, b'the cause\\n'); raise ImportError('no')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ})
    assert done.returncode == 1
    assert done.stderr.startswith("the cause\n")
    assert "ImportError: no" in done.stderr
