"""How the tests are compiled."""

from __future__ import annotations

import signal

import jax
import pytest

# a shell that starts the tests in the background has them ignore Ctrl-C, and all that they start as well
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# most of their time would go into compiling for tables of many shapes, and they say nothing of speed
_MANY_SHAPES = ("test_certificate", "test_estimators_", "test_truth")


@pytest.fixture(scope="module", autouse=True)
def _quickly_compiled(request):
    quickly = request.module.__name__.rpartition(".")[2].startswith(_MANY_SHAPES)
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", quickly or before)
    yield
    jax.config.update("jax_disable_most_optimizations", before)
