"""Reads the numbers of a run and returns verdicts; only the driver acts on them."""
