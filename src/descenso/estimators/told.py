"""What scikit-learn's callbacks are told of a fit: its beginning, every look at the descent, its end.

A callback that answers True at a look ends the descent there. scikit-learn before 1.9 has no callbacks, and nothing
is told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from descenso.result import Look

try:
    from sklearn.callback import CallbackSupportMixin as Heard  # pyrefly: ignore
    from sklearn.callback import with_callbacks as heard  # pyrefly: ignore
except ModuleNotFoundError:

    class Heard:
        """Nothing, where scikit-learn has no callbacks."""

    def heard(method: Callable) -> Callable:
        """The method itself, where scikit-learn has no callbacks."""
        return method


class Stopped(Exception):
    """A callback has asked for the end; `look` is where."""

    def __init__(self, look: Look):
        super().__init__(look)
        self.look = look


@dataclass(frozen=True)
class Told:
    """One fit of an estimator, as its callbacks see it."""

    estimator: Any
    context: Any
    rows: dict

    def watch(self, attributes: Callable[[Any], dict]) -> Callable[[Look], None] | None:
        """What `minimize` calls at each look, None where nobody listens; `attributes` are of a fit to some params."""
        if not getattr(self.estimator, "_skl_callbacks", None):
            return None

        def look(seen: Look) -> None:
            context = self.context.subcontext(task_name="look")
            context.call_on_fit_task_begin(estimator=self.estimator, **self.rows)
            fitted = {"reconstruction_attributes": lambda: attributes(seen.params())}
            if context.call_on_fit_task_end(estimator=self.estimator, **self.rows, **fitted):
                raise Stopped(seen)

        return look

    def end(self) -> None:
        """Tell that the fit is over."""
        self.context.call_on_fit_task_end(estimator=self.estimator, **self.rows, reconstruction_attributes={})


def begin(estimator: Any, X: Any, y: Any, sample_weight: Any) -> Told | None:
    """Tell that a fit begins; None where nobody listens."""
    if not hasattr(estimator, "_init_callback_context"):
        return None
    context = estimator._init_callback_context(max_subtasks=None)
    metadata = None if sample_weight is None else {"sample_weight": sample_weight}
    told = Told(estimator, context, {"X": X, "y": y, "metadata": metadata})
    context.call_on_fit_task_begin(estimator=estimator, **told.rows)
    return told
