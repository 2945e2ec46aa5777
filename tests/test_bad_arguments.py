"""What a caller can get wrong is told in one error, before the first step: what was given, what is needed, a hint."""

from __future__ import annotations

import random
import re
import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import sparse

from descenso import Budget, DescensoError, Descent, Reason, Stop, losses, minimize, rules, step_sizes
from descenso._errors import (
    ArgumentError,
    BudgetError,
    DataError,
    LossGradientError,
    LossPurityError,
    LossShapeError,
    MethodNameError,
    ParamsError,
)
from descenso.methods import Freeze

X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
Y = X[:, 0].copy()
W = {"w": np.zeros(3, np.float32), "b": np.float32(0)}
METHOD = Descent(rules.Gradient(), step_sizes.Constant(0.1))


def linear(params, batch):
    x, y = batch
    return jnp.mean((x @ params["w"] + params["b"] - y) ** 2)


def bowl(params):
    return jnp.sum(params["w"] ** 2) + params["b"] ** 2


def no_step(_):
    raise AssertionError("a step was made")


def go(loss=linear, params=W, data=(X, Y), **options):
    """`minimize`, of which no step may be seen."""
    return minimize(loss, params, data, **{"method": METHOD, "budget": Budget(steps=3), "watch": no_step} | options)


def without_data(loss=bowl, **options):
    return go(loss, data=None, **options)


calls = iter(range(10**6))

CASES = {
    # the loss
    "loss is no function": (lambda: go(3), ArgumentError, "`loss` is a int.*function of params"),
    "loss without data that takes a batch": (
        lambda: without_data(linear),
        ArgumentError,
        r"cannot be called as `loss\(params\)`: missing a required argument: 'batch'.*hint: pass `data`",
    ),
    "loss with data that takes none": (
        lambda: go(bowl),
        ArgumentError,
        r"cannot be called as `loss\(params, batch\)`: too many.*hint: let it take a batch.*or leave `data` out",
    ),
    "loss that takes a key by another name": (
        lambda: go(lambda p, b, rng: linear(p, b)),
        ArgumentError,
        r"missing a required argument: 'rng'.*hint: a parameter for random numbers is called `key`",
    ),
    "loss of text": (lambda: without_data(lambda p: "low"), LossShapeError, r"`loss\(params\)` returned a str"),
    "loss of many numbers": (
        lambda: go(lambda p, b: (b[0] @ p["w"] + p["b"] - b[1]) ** 2),
        LossShapeError,
        r"`loss\(params, batch\)` returned shape \(32,\).*one number.*hint: average.*jnp.mean",
    ),
    "loss of one number in an array": (
        lambda: without_data(lambda p: (p["w"] ** 2).sum(keepdims=True) + p["b"]),
        LossShapeError,
        r"`loss\(params\)` returned shape \(1,\)",
    ),
    "loss of two things": (lambda: without_data(lambda p: (bowl(p), 1)), LossShapeError, "returned a tuple"),
    "loss of nothing": (lambda: without_data(lambda p: None), LossShapeError, "returned a NoneType"),
    "loss of an integer": (lambda: without_data(lambda p: jnp.sum(p["w"] > 0)), LossShapeError, "dtype int32.*a float"),
    "loss of a complex number": (lambda: without_data(lambda p: bowl(p) * 1j), LossShapeError, "complex64.*a float"),
    "loss without a leaf": (
        lambda: without_data(lambda p: jnp.sum(p["w"] ** 2)),
        LossGradientError,
        r"No gradient reaches params\['b'\].*hint: use it in the loss, or take it out",
    ),
    "loss without a leaf, compiled": (
        lambda: without_data(jax.jit(lambda p: jnp.sum(p["w"] ** 2))),
        LossGradientError,
        r"params\['b'\]",
    ),
    "loss without any": (lambda: without_data(lambda p: 3.0), LossGradientError, r"params\['b'\], params\['w'\]"),
    "loss that stops a gradient": (
        lambda: without_data(lambda p: jnp.sum(p["w"] ** 2) + jax.lax.stop_gradient(p["b"])),
        LossGradientError,
        r"params\['b'\]",
    ),
    "loss of steps": (
        lambda: without_data(lambda p: jnp.sum(p["w"] ** 2) + jnp.round(p["b"])),
        LossGradientError,
        r"params\['b'\]",
    ),
    "loss with NumPy's randomness": (
        lambda: without_data(lambda p: bowl(p) + jnp.sum(p["w"] * np.random.normal(size=3))),
        LossPurityError,
        "not a function of its arguments.*hint: take randomness from a parameter named `key`",
    ),
    "loss with NumPy's randomness in a compiled part": (
        lambda: without_data(lambda p: bowl(p) + jax.jit(lambda w: jnp.sum(w * np.random.normal(size=3)))(p["w"])),
        LossPurityError,
        "not a function of its arguments",
    ),
    "loss with Python's randomness": (
        lambda: without_data(lambda p: bowl(p) * random.random()),
        LossPurityError,
        "twice",
    ),
    "loss with a count": (lambda: without_data(lambda p: bowl(p) * next(calls)), LossPurityError, "keep no state"),
    "loss with the time": (
        lambda: without_data(lambda p: bowl(p) * (time.perf_counter_ns() % 1e6)),
        LossPurityError,
        "twice",
    ),
    "loss with a key of NumPy's": (
        lambda: without_data(lambda p: bowl(p) * jax.random.uniform(jax.random.key(np.random.randint(2**31)))),
        LossPurityError,
        "twice",
    ),
    # params
    "integer leaf": (
        lambda: go(params=W | {"b": 0}),
        ParamsError,
        r"params\['b'\] has dtype int64.*must be float.*hint: write 1.0 for 1",
    ),
    "integer array": (lambda: go(params=W | {"w": np.arange(3)}), ParamsError, r"params\['w'\] has dtype int64"),
    "boolean leaf": (lambda: go(params=W | {"b": True}), ParamsError, r"params\['b'\] has dtype bool"),
    "complex leaf": (
        lambda: go(params=W | {"w": np.zeros(3, complex)}),
        ParamsError,
        r"params\['w'\] is complex.*must be real.*hint: split",
    ),
    "PRNG key leaf": (lambda: go(params=W | {"b": jax.random.key(0)}), ParamsError, r"params\['b'\] has dtype key"),
    "objects": (lambda: go(params=W | {"w": np.array([1, None, 2])}), ParamsError, r"params\['w'\] has dtype object"),
    "quarter precision": (
        lambda: go(params=W | {"w": jnp.zeros(3, jnp.float8_e4m3fn)}),
        ParamsError,
        r"params\['w'\] has dtype float8_e4m3fn. It must have 16, 32 or 64 bits.*hint: a\.astype",
    ),
    "masked params": (
        lambda: go(params=W | {"w": np.ma.masked_equal([0.0, 1.0, 2.0], 1.0)}),
        ParamsError,
        r"params\['w'\] has masked values",
    ),
    "auto inside a method": (
        lambda: go(method=Freeze("auto", (True, False))),
        ArgumentError,
        r"Freeze got method='auto'. It must be a method.*hint: e\.g\. methods\.named",
    ),
    "a mask in a dict": (
        lambda: Freeze(METHOD, {"w": True, "b": False}),
        ArgumentError,
        "one boolean for each leaf, in a tuple.*hint: leaf_mask",
    ),
    "no leaf": (lambda: go(params={}), ParamsError, "no float leaf.*at least one"),
    "None": (lambda: go(params=None), ParamsError, "no float leaf"),
    "text alone": (lambda: go(params="w"), ParamsError, "no float leaf"),
    "params beyond float32": (
        lambda: go(params=W | {"w": np.array([0, 1e300, 0])}),
        DataError,
        r"params\['w'\] holds 1e\+300 at index \(1,\) \(1 such values\).*not fit float32.*hint: rescale.*64 bits",
    ),
    # data
    "no arrays": (lambda: go(data=()), DataError, "`data` holds no arrays.*hint: pass"),
    "no rows": (lambda: go(data=(X[:0], Y[:0])), DataError, "has no rows.*hint"),
    "unequal lengths": (
        lambda: go(data=(X, Y[:7])),
        DataError,
        r"data\[0\] has 40, data\[1\] has 7 rows.*same number",
    ),
    "unequal lengths in a dictionary": (
        lambda: go(data={"x": X, "y": Y[:1]}),
        DataError,
        r"data\['x'\] has 40, data\['y'\] has 1 ",
    ),
    "masked values": (
        lambda: go(data=(np.ma.masked_less(X, 0), Y)),
        DataError,
        r"data\[0\] has \d+ masked values.*hint: leave these rows out",
    ),
    "records": (lambda: go(data=np.zeros(9, [("a", "f4"), ("b", "f4")])), DataError, "dtype .*must hold numbers"),
    "a sparse matrix": (lambda: go(data=sparse.csr_matrix(X)), DataError, r"data is a csr_matrix\..*hint:.*toarray"),
    "PRNG keys": (
        lambda: go(data=(X, jax.random.split(jax.random.key(0), 40))),
        DataError,
        r"data\[1\], a PRNGKeyArray, is no array of numbers",
    ),
    "a single value": (lambda: go(data=(X, np.float32(1))), DataError, r"data\[1\] .*single value.*rows as its first"),
    "text": (
        lambda: go(data=(X, np.array(["a"] * 40))),
        DataError,
        r"data\[1\] .* dtype <U1.*must hold numbers.*hint: encode text",
    ),
    "dates": (
        lambda: go(data=(X, np.zeros(40, "M8[D]"))),
        DataError,
        r"data\[1\] .*datetime64.*hint: encode text and dates",
    ),
    "complex data": (lambda: go(data=(X + 1j, Y)), DataError, r"data\[0\] .* complex64"),
    "data beyond float32": (
        lambda: go(data=(X, np.where(np.arange(40) == 5, 1e39, 0.0))),
        DataError,
        r"data\[1\] holds 1e\+39 at index \(5,\) \(1 such values\).*not fit float32",
    ),
    "data beyond int32": (
        lambda: go(data=(X, 2**40 + np.arange(40))),
        DataError,
        r"data\[1\] holds 1099511627776 at index \(0,\) \(40 such values\).*int32",
    ),
    # batch size
    "batch beyond the rows": (lambda: go(batch_size=41), DataError, '`batch_size` is 41.*40 rows.*hint: .*"all"'),
    **{
        f"batch size {value!r}": (partial(go, batch_size=value), ArgumentError, "`batch_size` is .*whole number from 1")
        for value in (0, -1, 1.5, True, "half", None)
    },
    "batch size without data": (lambda: without_data(batch_size=3), ArgumentError, "`batch_size` is 3.* no `data`"),
    "batches for a line search": (
        lambda: go(method="lbfgs", batch_size=8),
        ArgumentError,
        'LBFGS searches along a line.*`batch_size` is 8.*hint: take batch_size="all"',
    ),
    "a key for a line search": (
        lambda: without_data(lambda p, key: bowl(p) * jax.random.uniform(key), method="lbfgs"),
        ArgumentError,
        "searches along a line.*takes a key",
    ),
    # method
    "unknown method": (lambda: go(method="sdg"), MethodNameError, "no method 'sdg'.*hint"),
    "a method's class": (
        lambda: go(method=Descent),
        ArgumentError,
        "`method` is <class.*a name, a method or an optax tr.*hint",
    ),
    "a rule alone": (
        lambda: go(method=rules.Adam()),
        ArgumentError,
        r"`method` is Adam\(.*a name, a method or an optax tr.*Descent",
    ),
    "no method": (lambda: go(method=None), ArgumentError, "`method` is None"),
    # budget and stop
    **{
        f"Budget({name}={value!r})": (
            partial(Budget, **{name: value}),
            BudgetError,
            f"{name}=.*number above 0, or None",
        )
        for name in ("steps", "epochs", "seconds", "gradients")
        for value in (0, -1, float("nan"), float("inf"), "many", True, [1])
    },
    "half a step": (lambda: Budget(steps=1.5), BudgetError, "steps=1.5.*whole number"),
    "budget by number": (lambda: go(budget=100), ArgumentError, "`budget` is 100.*must be a Budget.*hint: e.g. Budget"),
    "budget of nothing": (lambda: go(budget=0), ArgumentError, "`budget` is 0"),
    "epochs without data": (lambda: without_data(budget=Budget(epochs=1)), BudgetError, "epochs.*no `data`.*hint"),
    "stop by number": (lambda: go(stop=0.1), ArgumentError, "`stop` is 0.1.*must be a Stop"),
    "target of text": (lambda: Stop(target="low"), ArgumentError, "target='low'.*a number, or None"),
    "target of NaN": (lambda: Stop(target=float("nan")), ArgumentError, "target=nan"),
    **{
        f"Stop(gradient={value!r})": (
            partial(Stop, gradient=value),
            ArgumentError,
            "gradient=.*between 0 and 1, or be None",
        )
        for value in (0, 1, -0.1, float("nan"), "small")
    },
    **{
        f"Stop(patience={value!r})": (partial(Stop, patience=value), ArgumentError, "patience=.*whole number from 1")
        for value in (0, -3, 1.5, "long", True, float("nan"))
    },
    "no end in sight": (
        lambda: go(budget=Budget(), stop=Stop(floor=False)),
        ArgumentError,
        "would not end.*hint: give a budget",
    ),
    # the rest
    **{
        f"seed {value!r}": (partial(go, seed=value), ArgumentError, "`seed` is .*whole number")
        for value in (1.5, "zero", None, True)
    },
    "progress is no function": (lambda: go(progress=3), ArgumentError, "`progress` is 3.*function of one argument"),
    "watch is no function": (lambda: go(watch="me"), ArgumentError, "`watch` is 'me'.*function of one argument"),
    "validation without data": (
        lambda: without_data(validate=(X, Y)),
        ArgumentError,
        "`validate` was given without `data`",
    ),
    "validation of another form": (
        lambda: go(validate=(X,)),
        ArgumentError,
        "`validate` has the form.*must have that of",
    ),
    "validation of another width": (
        lambda: go(validate=(X[:, :2], Y)),
        DataError,
        r"validate\[0\] has rows of shape \(2,\).*\(3,\)",
    ),
    "validation of another dtype": (
        lambda: go(validate=(X, Y.astype(int))),
        DataError,
        r"validate\[1\].*int32.*float32",
    ),
    "validation of unequal lengths": (
        lambda: go(validate=(X, Y[:3])),
        DataError,
        r"validate\[0\] has 40, validate\[1\] has 3",
    ),
    "validation of no rows": (lambda: go(validate=(X[:0], Y[:0])), DataError, "`validate` has no rows"),
    "validation of nothing": (lambda: go(validate=()), DataError, "`validate` holds no arrays"),
}


@pytest.mark.parametrize("name", CASES)
def test_one_clear_error_before_the_first_step(name):
    call, kind, told = CASES[name]
    with pytest.raises(kind) as raised:
        call()
    assert type(raised.value) is kind
    assert isinstance(raised.value, DescensoError)
    message = str(raised.value)
    assert re.search(told, message, re.DOTALL), message
    assert "<lambda>" not in message
    assert " at 0x" not in message


def test_the_hint_is_given_apart_too():
    with pytest.raises(LossShapeError) as raised:
        go(lambda p, b: (b[0] @ p["w"] + p["b"] - b[1]) ** 2)
    assert raised.value.hint == "average over the batch, as in `jnp.mean(per_example)`"


def test_where_the_data_are_wrong_is_given_apart_too():
    values = np.zeros(40)
    values[[5, 9]] = 1e39
    with pytest.raises(DataError) as raised:
        go(data=(X, values))
    error = raised.value
    assert (error.column, error.row, error.count, error.example) == ("data[1]", 6, 2, 1e39)


@pytest.mark.parametrize("data", [None, (X, Y)])
def test_what_the_loss_raises_comes_out(data):
    class Mine(Exception):
        pass

    def loss(*args):
        raise Mine("of my own")

    with pytest.raises(Mine, match="of my own"):
        go(loss, data=data)


def test_a_shape_that_does_not_fit_is_jax_s_own_error():
    with pytest.raises(TypeError, match="dot_general"):
        go(params={"w": np.zeros(5, np.float32), "b": 0.0})


def test_a_branch_on_a_value_is_jax_s_own_error():
    with pytest.raises(jax.errors.TracerBoolConversionError) as caught:
        without_data(lambda p: bowl(p) if p["b"] > 0 else -bowl(p))
    assert "jnp.where for `if`" in "\n".join(caught.value.__notes__)
    with pytest.raises(jax.errors.TracerArrayConversionError) as caught:
        without_data(lambda p: np.sum(np.square(p["w"])) + p["b"])
    assert "descenso.scipy_method" in "\n".join(caught.value.__notes__)


# what must not be refused

FINE = {
    "relu": lambda p: jnp.sum(jax.nn.relu(p["w"] - 1) ** 2) + p["b"] ** 2,
    "custom derivative made anew": lambda p: opaque_sum(p["w"]) + p["b"] ** 2,
    "remat": jax.checkpoint(bowl),
    "scan": lambda p: jax.lax.scan(lambda c, _: (jnp.sin(c), None), bowl(p), length=3)[0],
    "branches": lambda p: jax.lax.cond(p["b"] > 1, bowl, lambda q: 2 * bowl(q), p),
    "solve": lambda p: jnp.sum(jnp.linalg.solve(jnp.eye(3) + jnp.outer(p["w"], p["w"]), p["w"])) + bowl(p),
    "debug": lambda p: (jax.debug.callback(lambda b: None, p["b"]), bowl(p))[1],
    "seeded": lambda p: bowl(p) * np.random.default_rng(0).uniform(1, 2),
    "compiled": jax.jit(bowl),
    "a leaf that is flat here": lambda p: jnp.sum(p["w"] ** 2) + jnp.maximum(p["b"], 0.0) ** 2,
}


def opaque_sum(w):
    @jax.custom_vjp
    def total(x):
        return jnp.sum(x**2)

    total.defvjp(lambda x: (total(x), x), lambda x, g: (2 * g * x,))
    return total(w)


@pytest.mark.parametrize("name", FINE)
def test_a_loss_that_is_a_function_is_not_refused(name):
    params = {"w": np.full(3, 0.5, np.float32), "b": np.float32(-0.5)}
    result = minimize(FINE[name], params, method=METHOD, budget=Budget(steps=2), stop=Stop(floor=False))
    assert result.reason in (Reason.BUDGET, Reason.CONVERGED)


def test_numbers_of_numpy_are_numbers():
    result = minimize(
        linear,
        W,
        (X, Y),
        method=METHOD,
        batch_size=np.int64(8),
        seed=np.int32(3),
        budget=Budget(steps=np.int64(5), gradients=np.float32(100)),
        stop=Stop(target=np.float64(-1), patience=np.int8(2)),
    )
    assert result.steps == 5


def test_few_rows_are_rows():
    for rows in (1, 2):
        result = minimize(linear, W, (X[:rows], Y[:rows]), method=METHOD, batch_size=1, budget=Budget(steps=3))
        assert result.steps == 3


# labels out of range: the losses room names the row; a loss that meets one is NaN, and the run says so

LABELS = (np.arange(40) % 3).astype(np.int32)


def classes(w, batch):
    x, y = batch
    return losses.softmax(x @ w, y).mean()


@pytest.mark.parametrize("label", [3, -1])
@pytest.mark.parametrize("batch_size", ["all", 8])
def test_a_label_out_of_range_is_no_result(label, batch_size):
    labels = LABELS.copy()
    labels[17] = label
    with pytest.raises(DataError, match=r"targets are not whole numbers from 0 to 2.*row 18") as raised:
        losses.check_targets(losses.softmax, labels, classes=3)
    assert (raised.value.row, raised.value.count, raised.value.example) == (18, 1, label)
    result = minimize(
        classes,
        np.zeros((3, 3), np.float32),
        (X, labels),
        method=METHOD,
        batch_size=batch_size,
        budget=Budget(steps=20),
    )
    assert result.reason is Reason.NONFINITE
    assert "nan" in result.message
    assert result.steps == 0 or batch_size == 8


@pytest.mark.parametrize("transformed", [jax.jit, jax.grad, lambda f: lambda a: jax.vmap(f)(jnp.array([a, a]))])
def test_inside_a_transformed_function_it_points_to_argmin(transformed):
    def least(a):
        return minimize(lambda x: jnp.sum((x - a) ** 2), np.zeros(2), certify=False).params[0]

    with pytest.raises(ArgumentError, match=r"jit, vmap, grad.*\n.*\n.*descenso.argmin"):
        transformed(least)(2.0)


def test_params_without_a_number_are_refused():
    with pytest.raises(ParamsError, match=r"params has shape \(0,\)"):
        minimize(lambda x: jnp.sum(x**2), jnp.zeros(0))
