"""Checkpoints: a run written to disk so that no stop loses it, and found again only if every byte is right."""
