"""A chapter is out of date when what it uses has changed, and only then."""

import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import nbformat
import pytest

from tools import notebooks, stamps

ROOT = Path(__file__).parents[2]

#: A small srlib: doors, imports inside functions, data beside the code.
FILES = {
    "__init__.py": """
        import importlib
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            from srlib.cli import main
        _HOMES = {"load": "models.zoo", "upscale": "photo"}
        def __getattr__(name):
            return getattr(importlib.import_module(f"srlib.{_HOMES[name]}"), name)
        """,
    "_lazy.py": """
        import importlib
        def lazily(package, homes):
            return lambda name: getattr(importlib.import_module(f"{package}.{homes}"), name)
        """,
    "cli.py": "from srlib import photo\nfrom srlib.models import zoo\ndef main(): ...",
    "photo.py": """
        def upscale(image):
            from srlib import resize
            return resize.interpolate(image)
        """,
    "resize.py": '''
        """Resizing."""
        SCALE = 2  # as everywhere
        def interpolate(image):
            """Larger."""
            return image * SCALE
        ''',
    "models/__init__.py": """
        from srlib._lazy import lazily
        __getattr__ = lazily(__name__, {"build": ("residual",), "deep": ("tower",)})
        """,
    "models/build.py": "residual = 1",
    "models/deep.py": "tower = 1",
    "models/zoo.py": "from pathlib import Path\nZOO = Path(__file__).with_name('weights')",
    "data/__init__.py": "from .photoset import photos",
    "data/photoset.py": "PHOTOS = 'embedded'\nphotos = list",
    "book/__init__.py": "",
    "book/results.py": "FOLDER = 'recorded'\ndef read(name): ...\ndef rows(name): ...",
    "book/standings.py": "from srlib.book import results\nROWS = results.read('benchmark')",
    "py.typed": "",
    "models/weights/net.safetensors": "1",
    "data/embedded/train/a.jpg": "1",
    "book/recorded/benchmark.json": "{}",
    "book/recorded/speed.json": "{}",
    "book/recorded/speed.csv": "",
}
ALL = set(FILES)
START = {"__init__.py", "_lazy.py", "py.typed"}
RECORDED = {name for name in FILES if "/recorded/" in name}
RESULTS = {"__init__.py", "py.typed", "book/__init__.py", "book/results.py"}
ZOO = START | {"models/__init__.py", "models/zoo.py", "models/weights/net.safetensors"}
PHOTO = {"__init__.py", "py.typed", "photo.py", "resize.py"}

#: Code of a chapter -> the files that its stamp has to know.
USES = {
    "1 + 1": {"py.typed"},
    "import srlib": {"__init__.py", "py.typed"},
    "%pip install srlib": {"py.typed"},
    "import srlib\nsrlib.load('net')": ZOO,
    "import srlib as s\nmodel = s.load": ZOO,
    "from srlib import load": ZOO,
    "from srlib.models.zoo import ZOO": ZOO,
    "import srlib.models.zoo": ZOO,
    "import srlib.models.zoo as z": ZOO,
    "from srlib.models import zoo": ZOO,
    "import srlib\nsrlib.models.zoo": ZOO,
    "import srlib\ngetattr(srlib, 'load')": ZOO,
    "import importlib\nimportlib.import_module('srlib.models.zoo')": ZOO,
    "if True:\n    import srlib\n    f = lambda: srlib.upscale(1)": PHOTO,
    "from srlib import photo": PHOTO,
    "from srlib import models": START | {"models/__init__.py"},
    "from srlib import models\nmodels.residual": START | {"models/__init__.py", "models/build.py"},
    "from srlib.models import tower": START | {"models/__init__.py", "models/deep.py"},
    "from srlib.models import *": {f for f in ALL if f.startswith("models/")} | START,
    "from srlib.data import photos": {
        "__init__.py", "py.typed", "data/__init__.py", "data/photoset.py",
        "data/embedded/train/a.jpg",
    },
    "from srlib.book import results": RESULTS,
    "from srlib.book import results\nresults.read('speed')": RESULTS
    | {"book/recorded/speed.json", "book/recorded/speed.csv"},
    "from srlib.book import results as r\nr.rows('speed')": RESULTS
    | {"book/recorded/speed.json", "book/recorded/speed.csv"},
    "from srlib.book import standings": RESULTS
    | {"book/standings.py", "book/recorded/benchmark.json"},
    # Not plain, so all of it.
    "from srlib.book import results\n[results.read(n) for n in names]": RESULTS | RECORDED,
    "from srlib.book import results\nlist(map(results.read, names))": RESULTS | RECORDED,
    "from srlib.book import results\nresults.FOLDER": RESULTS | RECORDED,
    "from srlib.book import results\nf(results)": RESULTS | RECORDED,
    "from srlib.book.results import read": RESULTS | RECORDED,
    "import srlib.book.results\nsrlib.book.results.read(name)": RESULTS | RECORDED,
    "import srlib\ngetattr(srlib, name)": ALL - RECORDED | {"book/recorded/benchmark.json"},
    "__import__('srlib.' + name)": ALL - RECORDED | {"book/recorded/benchmark.json"},
    "run(['python', '-m', 'srlib'])": ALL - RECORDED | {"book/recorded/benchmark.json"},
    "CODE = '''\nfrom srlib import load'''": ALL - RECORDED | {"book/recorded/benchmark.json"},
    "this is no Python": ALL,
}  # fmt: skip


@pytest.fixture(scope="module")
def house(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("house") / "srlib"
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip())
    return folder


def stamped(folder: Path, *cells: str) -> str:
    return stamps.Package(folder).stamp(list(cells))


@pytest.fixture(scope="module")
def changed(house) -> dict[str, set[str]]:
    """Code -> the files after whose change its stamp is another one."""
    before = {code: stamped(house, code) for code in USES}
    moved = {code: set() for code in USES}
    for name in FILES:
        text = (house / name).read_text()
        (house / name).write_text(text + "\nNEW = 1\n")
        package = stamps.Package(house)
        for code in USES:
            if package.stamp([code]) != before[code]:
                moved[code].add(name)
        (house / name).write_text(text)
    return moved


@pytest.mark.parametrize("code", USES)
def test_a_chapter_is_stale_after_a_change_of_what_it_uses_and_of_nothing_else(changed, code):
    assert changed[code] == USES[code]


RESIZE = "import srlib\nsrlib.upscale"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# as everywhere", "# for now"),
        ('"""Resizing."""', '"""Other sizes.\n\nMuch said.\n"""'),
        ('"""Larger."""\n    ', ""),
        ("image * SCALE", "(image  *  SCALE)"),
    ],
    ids=["comment", "docstring", "no docstring", "layout"],
)
def test_comments_docstrings_and_layout_change_nothing(house, old, new):
    path = house / "resize.py"
    text, before = path.read_text(), stamped(house, RESIZE)
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    after, shown = stamped(house, RESIZE), stamped(house, RESIZE + "\nhelp(srlib)")
    path.write_text(text)
    assert after == before
    assert shown != stamped(house, RESIZE + "\nhelp(srlib)")  # there they can be read


@pytest.mark.parametrize(
    ("old", "new"), [("SCALE = 2", "SCALE = 3"), ("image * SCALE", "image - SCALE")]
)
def test_a_changed_constant_or_operation_changes_the_stamp(house, old, new):
    path = house / "resize.py"
    text, before = path.read_text(), stamped(house, RESIZE)
    path.write_text(text.replace(old, new))
    after = stamped(house, RESIZE)
    path.write_text(text)
    assert after != before


def test_cells_and_their_order_count_and_prose_and_outputs_do_not(house):
    assert re.fullmatch(r"[0-9a-f]{16}", stamped(house, "1 + 1"))
    cells = [("1 + 1", "2 + 2"), ("2 + 2", "1 + 1"), ("1 + 2", "2 + 2"), ("1 + 1", "2 + 2", "")]
    assert len({stamped(house, *some) for some in cells}) == len(cells)


def test_a_renamed_module_and_a_new_file_that_nobody_names_change_stamps(house):
    code, before = "from srlib import models\nmodels.residual", {}
    before[code], before["1 + 1"] = stamped(house, code), stamped(house, "1 + 1")
    (house / "models" / "build.py").rename(house / "models" / "built.py")
    assert stamped(house, code) != before[code]
    (house / "models" / "built.py").rename(house / "models" / "build.py")
    (house / "new.bin").write_bytes(b"")
    assert stamped(house, "1 + 1") != before["1 + 1"]
    (house / "new.bin").unlink()
    (house / "__pycache__").mkdir(exist_ok=True)
    (house / "__pycache__" / "resize.pyc").write_bytes(b"x")
    assert {c: stamped(house, c) for c in before} == before


# --- of the book's own chapters


@pytest.fixture(scope="module")
def package() -> stamps.Package:
    return stamps.Package(ROOT / "srlib")


def code_of(path: Path) -> stamps.Code:
    cells = nbformat.read(path, as_version=4).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    return stamps.Code(re.sub(r"^(\s*)[%!].*$", r"\1pass", text, flags=re.M))


def test_the_command_is_used_by_two_chapters_and_resizing_by_all(package):
    using = {path.stem: package.closure(code_of(path)) for path in notebooks.notebooks()}
    assert {name for name, used in using.items() if "srlib.cli" in used} <= {
        "10-own-photos", "11-export",
    }  # fmt: skip
    assert all("srlib.resize" in used for used in using.values())


SPY = """
import builtins, importlib, json, sys
plain, seen = builtins.__import__, {}
def spy(name, globals=None, locals=None, fromlist=(), level=0):
    found = plain(name, globals, locals, fromlist, level)
    importer = (globals or {}).get("__name__", "")
    if importer.split(".")[0] == "srlib" and name.split(".")[0] == "srlib":
        inner = [f"{name}.{item}" for item in fromlist or ()]
        seen.setdefault(importer, set()).update({name}, set(inner) & sys.modules.keys())
    return found
builtins.__import__ = spy
for name in sys.argv[1:]:
    importlib.import_module(name)
print("\\n" + json.dumps({name: sorted(modules) for name, modules in seen.items()}))
"""


def test_all_that_python_imports_was_found_in_the_code(package):
    """Python itself, loading every module, against what was read from them."""
    names = [name for name in package.modules if not name.endswith("__main__")]
    done = subprocess.run(
        [sys.executable, "-c", SPY, *names],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    seen = json.loads(done.stdout.splitlines()[-1])
    assert len(seen) > 30
    for name, modules in seen.items():
        assert set(modules) <= package.used[name], name
