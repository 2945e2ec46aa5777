"""Who may import whom. A lower row of the table never imports a higher one; each room can be imported first.

The table is that of the design, with what has come since:

* the driver is a room, since a module named like the function `minimize` would hide it; checkpoint stands beside it;
* the engine asks `data` for the order of the rows; `disk` is what writes files, below all that does.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "src" / "descenso"

GROUND = {"_types", "_namespace", "_errors", "_ranges", "_masks"}
SLOTS = {"rules", "step_sizes", "averaging"}
METHODS = GROUND | SLOTS | {"methods"}
SEEN = {"watch", "result"}
ENGINE = {"engine", "data", "disk"}
JUDGES = METHODS | SEEN | ENGINE
DRIVER = {"driver", "checkpoint"}
SURFACE = JUDGES | DRIVER | {"pilot", "certificate", "restarts", "losses", "models"}

# room: the rooms it may import, and the packages that are not Python's own
TABLE: dict[str, tuple[set[str], set[str]]] = {
    **{room: (GROUND, set()) for room in GROUND | SLOTS},
    "methods": (METHODS, set()),
    "disk": (GROUND, set()),
    "data": (GROUND | {"disk"}, {"numpy", "pyarrow", "sklearn"}),
    **{room: (SEEN | {"_types", "_errors"}, {"numpy"}) for room in SEEN},
    "losses": (GROUND, {"jax", "numpy"}),
    "models": (GROUND | {"losses"}, {"jax", "numpy"}),
    "engine": (GROUND | ENGINE, {"jax", "numpy"}),
    "pilot": (JUDGES, {"jax", "numpy"}),
    "certificate": (JUDGES, {"jax", "numpy"}),
    "restarts": (JUDGES | {"certificate"}, {"jax", "numpy"}),
    **{room: (JUDGES | DRIVER | {"pilot", "certificate", "restarts"}, {"jax", "numpy"}) for room in DRIVER},
    "implicit": (METHODS | {"engine"}, {"jax"}),
    "torch": (METHODS, {"torch"}),
    "estimators": (SURFACE, {"jax", "numpy", "sklearn", "scipy", "safetensors", "skl2onnx"}),
    "interop": (SURFACE, {"jax", "numpy", "optax", "scipy"}),
    "report": (SURFACE, {"numpy", "matplotlib"}),
    "cli": (SURFACE | {"estimators", "report"}, {"numpy", "pyarrow", "safetensors", "rich", "typer"}),
    "__main__": ({"cli"}, set()),
}
# an optax transformation becomes a method where it is handed over
TABLE["driver"][0].add("interop")
# what comes with a package of the table
TABLE["checkpoint"][1].update({"jaxlib", "ml_dtypes"})
# a result in the form of another package, asked for by name
TABLE["result"][1].update({"jax", "scipy"})

FILES = sorted(ROOT.rglob("*.py"))


def room_of(module: str) -> str:
    return module.split(".")[1]


def home(name: str) -> str:
    """The module that a name of `descenso` itself comes from."""
    import descenso

    return descenso._HOME.get(name, f"descenso.{name}")


def imported(tree: ast.AST) -> list[str]:
    """Every module that is imported anywhere in a file, those of `from descenso import name` by their homes."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = [alias.name for alias in node.names]
            own = [home(name) for name in names if name != "__version__"]
            found += own if node.module == "descenso" else [node.module]
    return found


def third_party(module: str) -> bool:
    return module.split(".", maxsplit=1)[0] not in {*sys.stdlib_module_names, "descenso"}


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(ROOT)))
def test_a_room_imports_only_what_it_may(file):
    relative = file.relative_to(ROOT)
    if str(relative) == "__init__.py":
        return
    room = relative.parts[0].removesuffix(".py")
    assert room in TABLE, f"{room} is a new room: say in the table what it may import"
    rooms, packages = TABLE[room]
    modules = imported(ast.parse(file.read_text()))
    own = {room_of(m) for m in modules if m.startswith("descenso.")} - {room}
    assert own <= rooms, f"{relative} imports {sorted(own - rooms)}"
    foreign = {m.split(".")[0] for m in modules if third_party(m)}
    assert foreign <= packages, f"{relative} imports {sorted(foreign - packages)}"


def test_slots_never_import_each_other():
    for room in SLOTS:
        for file in (ROOT / room).glob("*.py"):
            modules = imported(ast.parse(file.read_text()))
            others = {room_of(m) for m in modules if m.startswith("descenso.")} & (SLOTS - {room})
            assert not others, file


def test_scikit_learn_is_needed_by_two_files_of_the_data():
    users = {f.name for f in (ROOT / "data").glob("*.py") if "sklearn" in f.read_text()}
    assert users <= {"examples.py", "svmlight.py"}


def test_the_table_has_no_room_that_is_gone():
    there = {f.relative_to(ROOT).parts[0].removesuffix(".py") for f in FILES}
    # rooms of the design whose time has not come
    assert set(TABLE) - there <= {"report", "__main__"}


# what an import loads


def at_the_top(tree: ast.Module) -> list[ast.stmt]:
    """The statements that run when a module is imported; what is only for type checkers is not among them."""
    found, left = [], list(tree.body)
    while left:
        node = left.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            left += node.orelse
            continue
        found.append(node)
        left += [child for child in ast.iter_child_nodes(node) if isinstance(child, (ast.stmt, ast.ExceptHandler))]
    return found


def path_of(module: str) -> Path | None:
    place = ROOT.joinpath(*module.split(".")[1:])
    for file in (place.with_suffix(".py"), place / "__init__.py"):
        if file.is_file():
            return file
    return None


@cache
def loads(module: str) -> frozenset[str]:
    """The modules that `import module` loads directly, the packages it lies in among them."""
    parts = module.split(".")
    found = {".".join(parts[:n]) for n in range(1, len(parts))}
    for node in at_the_top(ast.parse(path_of(module).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module)
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            own = {home(a.name) for a in node.names if a.name != "__version__"} if node.module == "descenso" else inside
            found |= {m for m in own if m.startswith("descenso.") and path_of(m)}
    return frozenset(found - {module})


def all_that_loads(module: str) -> set[str]:
    seen, left = set(), [module]
    while left:
        if (name := left.pop()) not in seen:
            seen.add(name)
            left += loads(name) if name.split(".")[0] == "descenso" and path_of(name) else []
    return seen


HEAVY = {"jax", "jaxlib", "torch", "sklearn", "matplotlib", "scipy", "optax", "pyarrow"}
LIGHT = {
    "descenso": HEAVY,
    "descenso.rules": HEAVY,
    "descenso.step_sizes": HEAVY,
    "descenso.averaging": HEAVY,
    "descenso.methods": HEAVY,
    "descenso.watch": HEAVY,
    "descenso.result": HEAVY,
    "descenso.data": HEAVY - {"pyarrow"},
    "descenso.driver.loop": {"torch", "sklearn", "matplotlib", "scipy", "optax", "pyarrow"},
    "descenso.torch": HEAVY - {"torch"},
    "descenso.cli": {"torch", "sklearn", "matplotlib", "optax"},
}


@pytest.mark.parametrize("module", LIGHT)
def test_what_is_not_needed_is_not_loaded(module):
    loaded = {name.split(".")[0] for name in all_that_loads(module)}
    assert not loaded & LIGHT[module]


@pytest.mark.parametrize("module", ["descenso", "descenso.methods", "descenso.torch"])
def test_what_is_not_needed_is_not_loaded_in_truth(module):
    """The same in a process, so that what a package imports by itself is seen too."""
    if module == "descenso.torch" and find_spec("torch") is None:
        return  # the static check above holds without it
    unwanted = sorted(LIGHT[module] - {"scipy"} if module == "descenso.torch" else LIGHT[module])
    code = f"import sys, {module}; print(*[m for m in {unwanted} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [], module


def modules() -> list[str]:
    """All modules whose packages are installed."""
    found = []
    for file in FILES:
        parts = ["descenso", *file.relative_to(ROOT).with_suffix("").parts]
        found.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    extras = {"torch": "torch", "optax": "interop", "sklearn": "estimators"}
    absent = {room for package, room in extras.items() if find_spec(package) is None}
    return [m for m in found if not m.startswith("descenso.") or room_of(m) not in absent]


def test_every_room_can_be_imported_first():
    """In a process that has the packages, but nothing of descenso, before each: no order of imports is needed."""
    code = """
import sys, warnings
import jax, numpy, pyarrow
warnings.simplefilter("error")
for name in sys.argv[1:]:
    for module in [m for m in sys.modules if m.split(".")[0] == "descenso"]:
        del sys.modules[module]
    try:
        __import__(name)
    except BaseException as error:
        print(name, type(error).__name__, error)
"""
    rooms = [m for m in modules() if m.count(".") <= 1]
    assert len(rooms) > 20
    command = [sys.executable, "-c", code, *rooms]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("", 0), done.stderr[-2000:]


def test_no_circle():
    """Even one that Python would get out of."""
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join([*path[path.index(module) :], module])
        if module in done:
            return
        inside = {m for m in loads(module) if m.startswith("descenso.") and path_of(m)}
        # a package is begun before its modules; that it imports them is no circle
        for other in inside - {m for m in inside if module.startswith(m + ".")}:
            visit(other, (*path, module))
        done.add(module)

    for module in modules():
        visit(module, ())


# names


def test_every_public_name_is_there():
    import descenso

    for name in descenso.__all__:
        assert getattr(descenso, name) is not None
    assert set(descenso.__dir__()) == set(descenso.__all__)
    assert set(descenso._HOME) | set(descenso._ROOMS) | {"__version__"} == set(descenso.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        descenso.nothing  # noqa: B018


def test_names_that_were_promised():
    import descenso

    promised = {
        descenso: "minimize Result Reason Budget Stop Descent rules step_sizes averaging losses DescensoError",
        descenso.rules: "Gradient Momentum Nesterov Adam",
        descenso.step_sizes: "Constant Schedule",
        descenso.averaging: "Last Polynomial",
    }
    for room, names in promised.items():
        for name in names.split():
            assert hasattr(room, name), (room.__name__, name)


@pytest.mark.parametrize(("room", "verb"), [("rules", "direction"), ("step_sizes", "choose"), ("averaging", "apply")])
def test_a_room_offers_all_that_its_files_hold(room, verb):
    """Every public class that answers the room's question is exported."""
    from importlib import import_module

    held = set()
    for file in (ROOT / room).glob("*.py"):
        for node in ast.parse(file.read_text()).body:
            body = ast.unparse(node)
            protocol = isinstance(node, ast.ClassDef) and "Protocol" in map(ast.unparse, node.bases)
            if isinstance(node, ast.ClassDef) and not protocol and (f"def {verb}(" in body or f"{verb} = " in body):
                held.add(node.name)
    offered = import_module(f"descenso.{room}").__all__
    assert {name for name in held if not name.startswith("_")} == set(offered)
