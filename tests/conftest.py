"""What holds for all tests."""

from __future__ import annotations

import signal

import compiling

# a shell that starts the tests in the background has them ignore Ctrl-C, and all that they start as well
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# of a worker of pytest-xdist, the process that starts it has already done so
compiling.quickly()
