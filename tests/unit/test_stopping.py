"""What a signal becomes on its way out of a run."""

import os
import signal

import pytest

from dnndk_prep.stopping import ends_on_signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_error_that_a_library_makes_of_a_signal_is_the_signal(number: signal.Signals):
    """As TensorFlow does with what is raised while a batch is loaded."""
    before = signal.getsignal(number)

    def library() -> None:
        try:
            os.kill(os.getpid(), number)
        except SystemExit as error:
            raise ValueError("PyFunc failed") from error

    with pytest.raises(SystemExit) as stopped, ends_on_signals(lambda: "the last words"):
        library()
    assert stopped.value.code == 128 + number
    assert signal.getsignal(number) is before


def test_an_error_without_a_signal_stays_what_it_is():
    with pytest.raises(ValueError, match="of its own"), ends_on_signals(lambda: "the last words"):
        raise ValueError("of its own")
