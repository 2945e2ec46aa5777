"""How good predictions are, in the numbers that the command line prints."""

from __future__ import annotations

from typing import Any

import numpy as np

from descenso.data.target import Classes, Target

_BLOCK_ROWS = 1 << 20


def metrics(target: Target, outputs: np.ndarray, truth: np.ndarray) -> dict[str, float | None]:
    """Metrics of a model's outputs.

    Args:
        target: what is predicted.
        outputs: of the model, shape (rows, target.outputs).
        truth: the encoded target, shape (rows,).

    Returns:
        accuracy, log_loss (nats) and auc for classes; rmse, mae (both in units of the target) and r2 for numbers. None
        where it is not defined: auc where only one class occurs, r2 where all are the same.
    """
    if isinstance(target, Classes):
        return _of_classes(log_probabilities(outputs), truth)
    return _of_numbers(target.decode(outputs[:, 0]), target.decode(truth))


def guessing(target: Target, trained: Any, truth: np.ndarray) -> dict[str, float | None]:
    """The same of the best constant prediction: the class frequencies, or the mean, of the training rows."""
    pieces = (np.asarray(trained[at : at + _BLOCK_ROWS]) for at in range(0, len(trained), _BLOCK_ROWS))
    if isinstance(target, Classes):
        counts = np.full(len(target.labels), 1e-9)
        for piece in pieces:
            counts += np.bincount(piece.astype(np.int64), minlength=len(counts))
        outputs = np.log(counts / counts.sum())
        outputs = outputs[1:] - outputs[:1] if target.outputs == 1 else outputs
    else:
        outputs = np.full(1, sum(p.sum(dtype=np.float64) for p in pieces) / len(trained))
    return metrics(target, np.broadcast_to(outputs, (len(truth), target.outputs)), truth)


def log_probabilities(outputs: np.ndarray) -> np.ndarray:
    """Log-probabilities of the classes, (rows, classes), from one log-odds or from one output for each class."""
    z = outputs.astype(np.float64)
    if z.shape[1] == 1:
        return np.concatenate([-np.logaddexp(0, z), -np.logaddexp(0, -z)], axis=1)
    z = z - z.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def _of_classes(log_p: np.ndarray, truth: np.ndarray) -> dict[str, float | None]:
    return {
        "accuracy": float(np.mean(log_p.argmax(axis=1) == truth)),
        "log_loss": float(-np.mean(log_p[np.arange(len(truth)), truth])),
        "auc": _auc(log_p, truth),
    }


def _of_numbers(prediction: np.ndarray, truth: np.ndarray) -> dict[str, float | None]:
    # over a power of two above all of them, lest a square overflow; it changes no digit
    _, size = np.frexp(max(np.abs(prediction).max(), np.abs(truth).max()))
    prediction, truth = np.ldexp(prediction, -size), np.ldexp(truth, -size)
    residual = truth - prediction
    spread = np.mean(np.square(truth - truth.mean()))
    return {
        "rmse": float(np.ldexp(np.sqrt(np.mean(np.square(residual))), size)),
        "mae": float(np.ldexp(np.mean(np.abs(residual)), size)),
        "r2": float(1 - np.mean(np.square(residual)) / spread) if spread > 0 else None,
    }


def _auc(log_p: np.ndarray, truth: np.ndarray) -> float | None:
    """The chance that a row of a class scores above a row of another: the mean over the classes that occur."""
    classes = range(1, 2) if log_p.shape[1] == 2 else range(log_p.shape[1])
    scores = [_rank_auc(log_p[:, k], truth == k) for k in classes]
    known = [s for s in scores if s is not None]
    return float(np.mean(known)) if known else None


def _rank_auc(score: np.ndarray, positive: np.ndarray) -> float | None:
    """The Mann-Whitney statistic over the number of pairs, ties counted half."""
    n, m = int(positive.sum()), int((~positive).sum())
    if not n or not m:
        return None
    _, place, counts = np.unique(score, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * m))
