"""The torch optimizer: what torch and its users expect of one."""

from __future__ import annotations

import copy
import io
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler

from descenso._errors import ArgumentError, DescensoError, MethodNameError
from descenso._types import Evaluation
from descenso.averaging import EMA, L1, Last
from descenso.methods import METHODS, Descent, named
from descenso.rules import Adam, Gradient
from descenso.step_sizes import Constant
from descenso.torch import Optimizer, blocks, group
from descenso.torch.entrywise import is_entrywise, needs_loss
from methods import CASES

torch.set_num_threads(1)

X = torch.linspace(-2, 2, 60).reshape(20, 3)
Y = torch.sin(X.sum(1, keepdim=True))


def network(dtype=torch.float32, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1)).to(dtype)


def loss_of(model: nn.Module) -> torch.Tensor:
    dtype = next(model.parameters()).dtype
    return ((model(X.to(dtype)) - Y.to(dtype)) ** 2).mean()


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 30) -> list[float]:
    def closure():
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        return loss

    return [optimizer.step(closure).item() for _ in range(steps)]


def params_of(model: nn.Module) -> list[np.ndarray]:
    return [p.detach().double().numpy().copy() for p in model.parameters()]


def largest_difference(a: nn.Module, b: nn.Module) -> float:
    return max(float(np.max(np.abs(x - y))) for x, y in zip(params_of(a), params_of(b), strict=True))


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


@pytest.fixture
def float64_by_default():
    """torch's NAdam keeps a product in the default dtype."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("float64_by_default")
@pytest.mark.parametrize("block", [4, blocks.CACHED])
@pytest.mark.parametrize(
    ("name", "options", "theirs"),
    [
        ("sgd", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}, torch.optim.SGD),
        ("adam", {"lr": 0.02, "weight_decay": 0.01}, torch.optim.Adam),
        ("adamw", {"lr": 0.02, "weight_decay": 0.1, "amsgrad": True}, torch.optim.AdamW),
        ("nadam", {"lr": 0.02}, torch.optim.NAdam),
        ("rprop", {"lr": 0.02}, torch.optim.Rprop),
        ("adafactor", {"lr": 0.05, "eps": (1e-12, 1e-3)}, torch.optim.Adafactor),
    ],
)
def test_it_steps_as_torch_does(name, options, theirs, block: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(blocks, "CACHED", block)
    a, b = network(torch.float64), network(torch.float64)
    train(a, Optimizer(a.parameters(), name, **options))
    train(b, theirs(b.parameters(), **options))
    assert largest_difference(a, b) <= 1e-10


@pytest.mark.parametrize("name", METHODS)
def test_every_name_lowers_the_loss(name: str):
    model = network()
    if getattr(named(name), "needs_product", False):
        with pytest.raises(ArgumentError, match="needs Hessian-vector products"):
            Optimizer(model.parameters(), name)
        return
    losses = train(model, Optimizer(model.parameters(), name), 60)
    assert min(losses[30:]) < losses[0]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_an_entrywise_method_may_be_cut_anywhere(case):
    """What `is_entrywise` says of a method is so: entries stepped apart move as entries stepped together."""
    if not is_entrywise(case.method):
        return
    rng = np.random.default_rng(0)
    x, grads = rng.normal(size=12), rng.normal(size=(9, 12))

    def run(part: slice) -> np.ndarray:
        leaves = (x[part].copy(),)
        state = case.method.init(leaves, xp=np)
        for g in grads:
            leaves, state, _ = case.method.step(
                Evaluation(np.float64(1.0), (g[part],)), leaves, state, scale=1.0, xp=np
            )
        return leaves[0]

    np.testing.assert_allclose(run(slice(None)), np.concatenate([run(slice(5)), run(slice(5, 12))]), rtol=1e-12)


def test_what_couples_entries_is_not_entrywise():
    coupled = {case.name for case in CASES if not is_entrywise(case.method)}
    assert coupled >= {
        "muon",
        "adafactor",
        "dog",
        "dowg",
        "adgd",
        "clip norm",
        "prodigy",
        "mechanic",
        "lbfgs",
        "freeze",
    }
    assert {case.name for case in CASES if needs_loss(case.method)} >= {"polyak", "polyak level", "lbfgs", "bfgs"}


def test_options_of_a_group_are_its_own():
    a, b = network(torch.float64), network(torch.float64)
    groups = lambda m: [  # noqa: E731
        {"params": m[0].parameters(), "lr": 0.1, "betas": (0.8, 0.9)},
        {"params": m[2].parameters(), "weight_decay": 0.5},
    ]
    train(a, Optimizer(groups(a), "adamw", lr=0.01))
    train(b, torch.optim.AdamW(groups(b), lr=0.01))
    assert largest_difference(a, b) <= 1e-12


def test_a_group_may_have_another_method():
    a, b = network(torch.float64), network(torch.float64)
    one = Optimizer(
        [{"params": a[0].parameters()}, {"params": a[2].parameters(), "method": "sgd", "momentum": 0.5}], "adamw"
    )
    two = [torch.optim.AdamW(b[0].parameters()), torch.optim.SGD(b[2].parameters(), lr=1e-2, momentum=0.5)]
    for _ in range(10):
        for model in (a, b):
            model.zero_grad()
            loss_of(model).backward()
        one.step()
        for optimizer in two:
            optimizer.step()
    assert largest_difference(a, b) <= 1e-12


def test_a_method_object_is_multiplied_by_lr():
    a, b = network(torch.float64), network(torch.float64)
    train(a, Optimizer(a.parameters(), Descent(Adam(), Constant(0.1)), lr=0.2))
    train(b, torch.optim.Adam(b.parameters(), lr=0.02))
    assert largest_difference(a, b) <= 1e-12


@pytest.mark.parametrize(
    "scheduler",
    [
        lambda o: lr_scheduler.CosineAnnealingLR(o, 20),
        lambda o: lr_scheduler.OneCycleLR(o, 0.05, 30),
        lambda o: lr_scheduler.LambdaLR(o, lambda t: t / 10),
        lambda o: lr_scheduler.SequentialLR(
            o, [lr_scheduler.LinearLR(o, 0.1, 1.0, 5), lr_scheduler.ExponentialLR(o, 0.9)], [5]
        ),
    ],
)
@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_schedulers(name: str, scheduler):
    a, b = network(torch.float64), network(torch.float64)
    options = {"momentum": 0.9} if name == "sgd" else {}
    ours = Optimizer(a.parameters(), name, lr=0.01, **options)
    theirs = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[name](b.parameters(), lr=0.01, **options)
    for model, optimizer in ((a, ours), (b, theirs)):
        curve = scheduler(optimizer)
        for _ in range(25):
            train(model, optimizer, 1)
            curve.step()
    assert largest_difference(a, b) <= 1e-12


def test_a_plateau_scheduler_and_a_tensor_for_lr():
    model = network()
    optimizer = Optimizer(model.parameters(), "adam", lr=torch.tensor(0.01))
    curve = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
    losses = train(model, optimizer, 5)
    for _ in range(3):
        curve.step(1.0)
    assert float(optimizer.param_groups[0]["lr"]) == pytest.approx(0.0025)
    assert train(model, optimizer, 5)[-1] < losses[0]


@pytest.mark.parametrize("name", ["sgd", "adamw", "muon", "schedule_free_adamw", "prodigy", "lbfgs"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_saved_state_goes_on_bit_for_bit(name: str, dtype):
    a = network(dtype)
    ours = Optimizer(a.named_parameters(), name)
    train(a, ours, 5)
    b = copy.deepcopy(a)
    file = io.BytesIO()
    torch.save(ours.state_dict(), file)
    other = Optimizer(b.named_parameters(), name)
    other.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    saved, loaded = ours.state_dict(), other.state_dict()
    assert saved["param_groups"] == loaded["param_groups"]
    for key, places in saved["state"].items():
        for place, tensor in places.items():
            assert tensor.dtype == loaded["state"][key][place].dtype
            assert torch.equal(tensor, loaded["state"][key][place])
    assert train(a, ours, 5) == train(b, other, 5)
    assert same(a, b)


def test_state_is_float32_for_narrow_params():
    model = network(torch.bfloat16)
    optimizer = Optimizer(model.parameters(), "adam")
    losses = train(model, optimizer, 20)
    assert losses[-1] < losses[0]
    for p in model.parameters():
        assert p.dtype == torch.bfloat16
        dtypes = {v.dtype for v in optimizer.state[p].values()}
        assert dtypes == {torch.int32, torch.float32}


def test_mixed_dtypes_in_a_group():
    model = nn.ModuleList([network(torch.float32), network(torch.float64), network(torch.bfloat16)])
    optimizer = Optimizer(model.parameters(), "adamw", lr=0.01)
    for _ in range(20):
        optimizer.zero_grad()
        losses = [loss_of(m) for m in model]
        sum(loss.double() for loss in losses).backward()
        optimizer.step()
    reference = network(torch.float64)
    train(reference, torch.optim.AdamW(reference.parameters(), lr=0.01), 20)
    assert largest_difference(model[1], reference) <= 1e-12
    assert largest_difference(model[0], reference) <= 1e-5


@pytest.mark.parametrize("name", ["adam", "dog"])
def test_deepcopy_and_pickle_go_on_alike(name: str):
    model = network()
    optimizer = Optimizer(model.parameters(), name)
    train(model, optimizer, 5)
    twin_model, twin = copy.deepcopy((model, optimizer))
    file = io.BytesIO()
    torch.save((model, optimizer), file)
    third_model, third = torch.load(io.BytesIO(file.getvalue()), weights_only=False)
    losses = train(model, optimizer, 5)
    assert train(twin_model, twin, 5) == losses
    assert train(third_model, third, 5) == losses


def test_a_copied_state_dict_is_not_touched_by_later_steps():
    model = network()
    optimizer = Optimizer(model.parameters(), "adam")
    train(model, optimizer, 3)
    saved = copy.deepcopy(optimizer.state_dict())
    frozen = copy.deepcopy(saved)
    other = Optimizer(model.parameters(), "adam")
    other.load_state_dict(saved)
    train(model, other, 3)
    for key in frozen["state"]:
        for place, tensor in frozen["state"][key].items():
            assert torch.equal(tensor, saved["state"][key][place])


def saved_state(name="adam", model=None, named_params=False, **options):
    model = model or network()
    optimizer = Optimizer(model.named_parameters() if named_params else model.parameters(), name, **options)
    train(model, optimizer, 2)
    return optimizer.state_dict()


def test_a_state_that_does_not_fit_is_refused():
    model = network()
    target = Optimizer(model.parameters(), "adam")
    other = nn.Sequential(nn.Linear(3, 9), nn.Tanh(), nn.Linear(9, 1))
    with pytest.raises(ArgumentError, match=r"shape \(9, 3\) for param 0 of param group 0 which has shape \(8, 3\)"):
        target.load_state_dict(saved_state(model=other))
    with pytest.raises(ArgumentError, match=r"made by 'sgd'. It needs 'adam'"):
        target.load_state_dict(saved_state("sgd"))
    with pytest.raises(ArgumentError, match=r"is of 4 params. The optimizer has 2 there"):
        Optimizer(model[0].parameters(), "adam").load_state_dict(saved_state())
    two_groups = Optimizer([{"params": model[0].parameters()}, {"params": model[2].parameters()}], "adam")
    with pytest.raises(ArgumentError, match=r"has 1 param groups. The optimizer has 2"):
        two_groups.load_state_dict(saved_state())
    named_target = Optimizer(nn.Sequential(model[0], nn.Tanh(), nn.Identity(), model[2]).named_parameters(), "adam")
    with pytest.raises(ArgumentError, match=r"has '2.weight' in the place of param 2 of param group 0, '3.weight'"):
        named_target.load_state_dict(saved_state(named_params=True))
    with pytest.raises(ArgumentError, match="has the keys a"):
        target.load_state_dict({"a": 1})


def test_objects_among_the_options_are_saved_as_descriptions():
    file = io.BytesIO()
    torch.save(saved_state(averaging=EMA(0.9)), file)
    loaded = torch.load(io.BytesIO(file.getvalue()), weights_only=True)
    model = network()
    target = Optimizer(model.parameters(), "adam", averaging=EMA(0.9))
    target.load_state_dict(loaded)
    assert target.param_groups[0]["averaging"] == EMA(0.9)
    train(model, target, 2)


def test_hooks_run_around_a_step():
    model, seen = network(), []
    optimizer = Optimizer(model.parameters(), "adam")
    optimizer.register_step_pre_hook(lambda *_: seen.append("before"))
    optimizer.register_step_post_hook(lambda *_: seen.append("after"))
    train(model, optimizer, 2)
    assert seen == ["before", "after"] * 2


def test_grad_scaler_skips_a_step_with_infinite_gradients():
    model = network()
    optimizer = Optimizer(model.parameters(), "adam")
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    before = copy.deepcopy(model)
    for factor in (1.0, float("inf")):
        optimizer.zero_grad()
        scaler.scale(loss_of(model) * factor).backward()
        scaler.step(optimizer)
        scaler.update()
        if factor == 1.0:
            reference = copy.deepcopy(before)
            plain = torch.optim.Adam(reference.parameters())
            loss_of(reference).backward()
            plain.step()
    assert scaler.get_scale() == 4.0
    assert largest_difference(model, reference) <= 1e-6


def test_params_without_gradient_are_left_alone():
    a, b = network(torch.float64), network(torch.float64)
    ours, theirs = Optimizer(a.parameters(), "adamw", lr=0.01), torch.optim.AdamW(b.parameters(), lr=0.01)
    for step in range(12):
        for model, optimizer in ((a, ours), (b, theirs)):
            optimizer.zero_grad()
            loss_of(model).backward()
            if step % 3 == 1:
                model[0].weight.grad = None
            if step < 6:
                model[2].bias.grad = None
            optimizer.step()
    assert largest_difference(a, b) <= 1e-12


def test_a_param_group_can_be_added_in_a_run():
    a, b = network(torch.float64), network(torch.float64)
    runs = [(a, Optimizer(a[0].parameters(), "adam")), (b, torch.optim.Adam(b[0].parameters()))]
    for model, optimizer in runs:
        train(model, optimizer, 3)
        optimizer.add_param_group({"params": model[2].parameters(), "lr": 0.1})
        train(model, optimizer, 3)
    assert largest_difference(a, b) <= 1e-12


def test_params_of_any_layout_and_shape():
    def make():
        torch.manual_seed(1)
        return [
            nn.Parameter(torch.randn(6, 5, dtype=torch.float64).t()),
            nn.Parameter(torch.randn(2, 3, 4, 4, dtype=torch.float64).contiguous(memory_format=torch.channels_last)),
            nn.Parameter(torch.tensor(2.0, dtype=torch.float64)),
            nn.Parameter(torch.zeros(0, dtype=torch.float64)),
            nn.Parameter(torch.randn(11, dtype=torch.float64)),
        ]

    a, b = make(), make()
    ours, theirs = Optimizer(a, "adam", lr=0.1), torch.optim.Adam(b, lr=0.1)
    for _ in range(5):
        for params, optimizer in ((a, ours), (b, theirs)):
            optimizer.zero_grad()
            sum((p**2 * torch.arange(p.numel()).reshape(p.shape)).sum() for p in params).backward()
            optimizer.step()
    for p, q in zip(a, b, strict=True):
        assert p.stride() == q.stride()
        assert torch.allclose(p, q, rtol=0, atol=1e-12)


def test_evaluation_shows_the_average_and_puts_the_rest_back():
    model = network(torch.float64)
    optimizer = Optimizer(model.parameters(), "sgd", lr=0.1, averaging=EMA(0.5))
    train(model, optimizer, 1)
    first = copy.deepcopy(model)
    train(model, optimizer, 1)
    last = copy.deepcopy(model)
    with optimizer.evaluation():
        shown = params_of(model)
        with pytest.raises(ArgumentError, match="inside"):
            optimizer.step()
    assert same(model, last)
    for x1, x2, a in zip(params_of(first), params_of(last), shown, strict=True):
        np.testing.assert_allclose(a, (0.25 * x1 + 0.5 * x2) / 0.75, rtol=1e-12)


def test_evaluation_puts_back_after_an_error():
    model = network()
    optimizer = Optimizer(model.parameters(), "schedule_free_sgd", lr=0.1)
    train(model, optimizer, 5)
    before = copy.deepcopy(model)
    with pytest.raises(ZeroDivisionError):
        evaluate_and_fail(model, optimizer, before)
    assert same(model, before)


def evaluate_and_fail(model, optimizer, before):
    with optimizer.evaluation():
        assert not same(model, before)
        raise ZeroDivisionError


@pytest.mark.parametrize("name", ["adam", "dog", "lbfgs"])
def test_evaluation_before_the_first_step_shows_the_start(name: str):
    model = network()
    before = copy.deepcopy(model)
    with Optimizer(model.parameters(), name).evaluation():
        assert same(model, before)


def test_evaluation_of_a_line_search_is_its_accepted_point():
    model = network(torch.float64)
    optimizer = Optimizer(model.parameters(), "lbfgs")
    losses = train(model, optimizer, 40)
    with optimizer.evaluation():
        assert loss_of(model).item() <= min(losses) * (1 + 1e-9)


def test_a_program_steps_as_the_method_does(monkeypatch: pytest.MonkeyPatch):
    """From the 21st step on a traced program writes in place; every entrywise method must not notice."""
    for case in CASES:
        if not is_entrywise(case.method):
            continue
        ends = []
        for steady in (0, 10**9):
            monkeypatch.setattr(group, "STEADY", steady)
            model = network(torch.float64)
            optimizer = Optimizer(model.parameters(), case.method, lr=0.1)
            train(model, optimizer, 12)
            ends.append(model)
        assert largest_difference(*ends) <= 1e-11, case.name


def test_a_program_serves_narrow_params_and_many_blocks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(blocks, "CACHED", 7)
    for dtype, tolerance in ((torch.bfloat16, 2**-7), (torch.float16, 2**-9), (torch.float32, 1e-5)):
        ends = []
        for steady in (0, 10**9):
            monkeypatch.setattr(group, "STEADY", steady)
            model = network(dtype)
            train(model, Optimizer(model.parameters(), "adamw", lr=0.01), 12)
            ends.append(model)
        assert largest_difference(*ends) <= tolerance


def test_compiled_steps_are_the_same():
    a, b = network(torch.float64), network(torch.float64)
    train(a, Optimizer(a.parameters(), "adamw", lr=0.01, compile="aot_eager"), 10)
    train(b, torch.optim.AdamW(b.parameters(), lr=0.01), 10)
    assert largest_difference(a, b) <= 1e-10
    with pytest.raises(ArgumentError, match="'muon' does not treat every entry by itself"):
        Optimizer(a.parameters(), "muon", compile=True)


def test_sparse_gradients_are_refused():
    embedding = nn.Embedding(5, 2, sparse=True)
    optimizer = Optimizer(embedding.parameters(), "adam")
    embedding(torch.tensor([1, 2])).sum().backward()
    with pytest.raises(ArgumentError, match=r"shape \(5, 2\) is sparse. It must be dense"):
        optimizer.step()


def test_a_method_that_looks_at_the_loss_needs_a_closure():
    for name in ("polyak", "lbfgs"):
        model = network()
        optimizer = Optimizer(model.parameters(), name)
        loss_of(model).backward()
        with pytest.raises(ArgumentError, match=rf"'{name}' looks at the loss. It needs a closure"):
            optimizer.step()


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"method": "adma"}, MethodNameError, 'did you mean "adam"'),
        ({"method": "adam", "momentum": 0.9}, ArgumentError, "no option 'momentum'"),
        ({"method": "adam", "lr": -1.0}, ArgumentError, "value=-1.0"),
        ({"method": 3}, ArgumentError, "is a int"),
        ({"method": Descent(Gradient(), Constant(0.1)), "betas": (0.9, 0.9)}, ArgumentError, "takes no option 'betas'"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict, error: type, words: str):
    with pytest.raises(error, match=words) as caught:
        Optimizer(network().parameters(), **arguments)
    assert isinstance(caught.value, DescensoError)


def test_what_a_torch_step_cannot_do_is_refused():
    with pytest.raises(ArgumentError, match="complex"):
        Optimizer([nn.Parameter(torch.zeros(2, dtype=torch.complex64))], "adam")
    model = network()
    with pytest.raises(ArgumentError, match="all params in one group"):
        Optimizer([{"params": model[0].parameters()}, {"params": model[2].parameters()}], "lbfgs")
    optimizer = Optimizer([nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2, device="meta"))], "dog")
    for p in optimizer.param_groups[0]["params"]:
        p.grad = torch.ones_like(p)
    with pytest.raises(ArgumentError, match="got params on cpu and meta"):
        optimizer.step()


def test_changing_what_is_remembered_is_refused():
    model = network()
    optimizer = Optimizer(model.parameters(), "sgd", lr=0.1, momentum=0.9)
    train(model, optimizer, 2)
    optimizer.param_groups[0]["momentum"] = 0.0
    with pytest.raises(ArgumentError, match="remembers other things"):
        train(model, optimizer, 1)


def test_proximal_maps_reach_torch():
    model = network()
    optimizer = Optimizer(model.parameters(), "sgd", lr=0.1, averaging=Last(L1(10.0)))
    train(model, optimizer, 5)
    assert all(not p.any() for p in model.parameters())


def test_several_devices_are_stepped_apart():
    """Entrywise methods keep a cohort for each device; `meta` stands in for a second one."""
    params = [nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(3, device="meta")), nn.Parameter(torch.zeros(2))]
    optimizer = Optimizer(params, named("sgd", lr=0.5))
    for _ in range(2):
        for p in params:
            p.grad = torch.ones_like(p)
        optimizer.step()
    assert params[0].tolist() == [-1.0] * 3
    assert params[2].tolist() == [-1.0] * 2


BLOCKED = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("jax", "jaxlib", "optax", "flax", "equinox"):
            raise ModuleNotFoundError(f"No module named {name!r}")

sys.meta_path.insert(0, Blocker())
import torch
from descenso.torch import Optimizer

for name in ("adamw", "lbfgs", "muon", "prodigy"):
    w = torch.nn.Parameter(torch.ones(3, 2))
    optimizer = Optimizer([w], name, **({"lr": 0.1} if name == "adamw" else {}))
    def closure():
        optimizer.zero_grad()
        loss = (w**2).sum()
        loss.backward()
        return loss
    first = float(optimizer.step(closure))
    for _ in range(20):
        last = float(optimizer.step(closure))
    assert last < first, (name, first, last)
assert not [m for m in sys.modules if m.split(".")[0] in ("jax", "jaxlib")]
print("no jax")
"""


def test_it_works_where_jax_is_not_installed():
    done = subprocess.run([sys.executable, "-c", BLOCKED], capture_output=True, text=True, check=False)
    assert done.stdout == "no jax\n", done.stderr
