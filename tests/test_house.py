"""The house: what is imported by what, and what waits for TensorFlow."""

import ast
import importlib
import re
import subprocess
import sys
import types
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import srlib

PACKAGE = Path(srlib.__file__).parent
ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
HEAVY = {"tensorflow", "keras", "matplotlib", "h5py", "requests"}


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def imports(name: str) -> set[str]:
    """The modules of srlib that a module imports while it is imported itself."""
    found = set()
    waiting: list[ast.AST] = list(ast.parse(MODULES[name].read_text()).body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef):
            continue  # imported when it is called
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (inner & MODULES.keys()) or {node.module or ""}
        waiting += ast.iter_child_nodes(node)
    return found & MODULES.keys() - {"srlib"}


def floor_of(name: str) -> str:
    """The room of a module, or the module itself where it stands at the first level."""
    return ".".join(name.split(".")[:2])


def test_imports_go_one_way():
    """Between modules there is no circle, and between rooms there is none either."""
    between = {name: imports(name) - {name} for name in MODULES}
    TopologicalSorter(between).prepare()  # a CycleError names the circle
    rooms: dict[str, set[str]] = {}
    for name, used in between.items():
        rooms.setdefault(floor_of(name), set()).update(map(floor_of, used))
    TopologicalSorter({room: used - {room} for room, used in rooms.items()}).prepare()


def test_the_readme_shows_the_rooms_from_the_ground_up():
    """What it says below the tree: a room imports only from what stands above it there."""
    tree = (PACKAGE.parent / "README.md").read_text().split("srlib/             the package:")[1]
    shown = re.findall(r"^  (\w+)(?:/|\.py) ", tree.split("```")[0], re.MULTILINE)
    assert set(shown) == {floor_of(n).removeprefix("srlib.") for n in MODULES if "._" not in n} - {
        "srlib"
    }
    for name in MODULES:
        for used in imports(name):
            above, below = (floor_of(n).removeprefix("srlib.") for n in (used, name))
            if above != below and {above, below} <= set(shown):
                assert shown.index(above) < shown.index(below), f"{name} imports {used}"


def test_a_circle_would_be_found():
    with pytest.raises(ValueError, match="cycle"):
        TopologicalSorter({"a": {"b"}, "b": {"a"}}).prepare()
    assert "srlib.resize" in imports("srlib.data.degrade")


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_does_not_use_its_own_door(room):
    for name in MODULES:
        if floor_of(name) == f"srlib.{room}" and name not in (
            f"srlib.{room}",
            f"srlib.{room}.__main__",
        ):
            assert f"srlib.{room}" not in imports(name), name


@pytest.mark.parametrize("room", ROOMS)
def test_a_door_hides_no_file(room):
    """``from srlib.ROOM import NAME`` is the file of that name, whatever was imported before."""
    door = importlib.import_module(f"srlib.{room}")
    for path in (PACKAGE / room).glob("*.py"):
        if not path.stem.startswith("_"):
            importlib.import_module(f"srlib.{room}.{path.stem}")
            assert isinstance(getattr(door, path.stem), types.ModuleType), path.stem


@pytest.mark.parametrize("room", ["", *(f".{room}" for room in ROOMS)])
def test_a_door_holds_what_it_promises(room):
    door = importlib.import_module(f"srlib{room}")
    assert all(hasattr(door, name) for name in getattr(door, "__all__", []))


def test_no_file_is_long():
    assert not {n: c for n, p in MODULES.items() if (c := len(p.read_text().splitlines())) > 310}


@pytest.mark.parametrize(
    "code",
    [
        "import srlib",
        "import srlib.resize",
        "import srlib.pixels",
        "import srlib.imagefile",
        "import srlib.data.degrade",
        "import srlib.models.cards",
        "import srlib; srlib.available(); srlib.card('espcn')",
        "import srlib; srlib.photos()",
        "from srlib.cli import main; main(['models'])",
        "from srlib.cli import main; main(['models', 'espcn'])",
        "from srlib.cli import main; main(['--help'])",
    ],
)
def test_the_ground_floor_is_free_of_tensorflow(code):
    end = f"import atexit, sys; atexit.register(lambda: print({HEAVY} & set(sys.modules)))\n"
    done = subprocess.run(
        [sys.executable, "-c", end + code], cwd=PACKAGE.parent, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "set()"
