"""Everything is built in front of the reader before srlib does it, and compared with srlib.

``BUILT`` says what each chapter of Part I builds, and under which name; the code
cells are read, not run.
"""

import ast
import re
from pathlib import Path
from typing import NamedTuple

import nbformat
import pytest

from tools import notebooks as tool

BOOK = Path(__file__).parents[2] / "book"
PART_1 = ("01-data", "02-cnn", "03-mse", "04-perceptual", "05-checkerboard", "06-psnr")


class Built(NamedTuple):
    """A thing that a page defines, and the function of srlib that does the same."""

    chapter: str
    own: str
    holds: str  # what stands in the definition
    srlib: str  # what it is compared with
    not_before: tuple[str, ...] = ()  # what is not called before; by default the same

    @property
    def late(self) -> set[str]:
        return set(self.not_before or (self.srlib,))


BUILT = [
    Built("01-data", "cubic", r"x \*\* 3", "resize.downscale", ("resize.resize", "resize.cubic")),
    Built("01-data", "shrink", r"halve", "resize.downscale"),
    Built("01-data", "enlarge", r"double", "resize.interpolate"),
    Built("01-data", "psnr", r"log10", "srlib.psnr"),
    Built("01-data", "crop", r"random", "data.dataset"),
    Built(
        "02-cnn", "fit", r"solve|lstsq", "models.fit_linear", ("models.fit_linear", "models.linear")
    ),
    Built("02-cnn", "hourglass", r"Conv2DTranspose", "models.hourglass"),
    Built("02-cnn", "residual", r"conv3", "srlib.load", ("models.residual", "models.build")),
    Built("03-mse", "SquaredError", r"keras\.losses\.Loss", "losses.PixelLoss"),
    Built("03-mse", "step", r"GradientTape", "training.train", ("training.train", "srlib.train")),
    Built("04-perceptual", "Perceptual", r"keras\.losses\.Loss", "losses.PerceptualLoss"),
    Built("05-checkerboard", "transposed", r"kernel", "UPSAMPLERS", ("models.with_upsampler",)),
    Built("05-checkerboard", "resize_convolution", r"kernel", "UPSAMPLERS"),
    Built("05-checkerboard", "index", r"power", "checkerboard.index"),
    Built("06-psnr", "psnr", r"log10", "srlib.psnr"),
    Built("06-psnr", "score", r"shave|border", "srlib.psnr", ("srlib.evaluate",)),
]
rows = pytest.mark.parametrize("built", BUILT, ids=lambda b: f"{b.chapter}-{b.own}")


def trees(chapter: str) -> list[ast.Module]:
    """The code cells of a chapter, without those of its exercises' solutions."""
    cells = nbformat.read(BOOK / f"{chapter}.ipynb", as_version=4).cells
    cells = [c for c in cells if c.cell_type == "code"]
    cells = [c for c in cells if "hide-cell" not in c.metadata.get("tags", [])]
    return [ast.parse(re.sub(r"^(\s*)[%!].*$", r"\1pass", c.source, flags=re.M)) for c in cells]


def definition(built: Built) -> tuple[int, ast.AST]:
    """The first cell that defines a thing, and the definition."""
    for place, tree in enumerate(trees(built.chapter)):
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == built.own:
                return place, node
    pytest.fail(f"{built.chapter} defines no {built.own}")


def mentions(node: ast.AST, names: set[str]) -> bool:
    """Whether code uses one of these names, plain or dotted."""
    parts = [ast.unparse(n) for n in ast.walk(node) if isinstance(n, ast.Name | ast.Attribute)]
    return any(part == name or part.endswith(f".{name}") for part in parts for name in names)


def targets(node: ast.AST) -> set[str]:
    """The names that a statement gives a value to, or fills."""
    if isinstance(node, ast.FunctionDef):
        return {node.name}
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        return {n.id for n in ast.walk(node.value.func) if isinstance(n, ast.Name)}
    found = getattr(node, "targets", [getattr(node, "target", None)])
    return {n.id for t in found if t for n in ast.walk(t) if isinstance(n, ast.Name)}


def derived(cells: list[ast.Module], seed: str) -> set[str]:
    """A name, and all that is made with it, as far as the text of the cells says."""
    names = {seed}
    statements = [node for cell in cells for node in ast.walk(cell) if isinstance(node, ast.stmt)]
    while True:
        more = set().union(*(targets(node) for node in statements if mentions(node, names)))
        if more - {"plt", "np", "tf", "srlib", "keras", "print"} <= names:
            return names
        names |= more - {"plt", "np", "tf", "srlib", "keras", "print"}


def asserts(cells: list[ast.Module]) -> list[ast.AST]:
    """Statements ``assert``, and calls like ``np.testing.assert_array_equal``."""
    nodes = [node for cell in cells for node in ast.walk(cell)]
    calls = [n for n in nodes if isinstance(n, ast.Call) and ".assert_" in ast.unparse(n.func)]
    return [*calls, *(node for node in nodes if isinstance(node, ast.Assert))]


@rows
def test_it_is_defined_by_what_it_is_made_of(built):
    _, node = definition(built)
    assert re.search(built.holds, ast.unparse(node)), ast.unparse(node)


@rows
def test_it_is_compared_with_srlib_by_an_assert(built):
    place, _ = definition(built)
    cells = trees(built.chapter)[place:]
    own, theirs = derived(cells, built.own), derived(cells, built.srlib)
    assert any(mentions(node, own) and mentions(node, theirs) for node in asserts(cells)), built.own


@rows
def test_srlib_is_not_called_before_it_is_built(built):
    """In the whole of Part I, read from its start."""
    first = next(b for b in BUILT if b.late & built.late)
    end, _ = definition(first)
    for chapter in PART_1[: PART_1.index(first.chapter) + 1]:
        cells = trees(chapter)
        for cell in cells[:end] if chapter == first.chapter else cells:
            calls = [node for node in ast.walk(cell) if isinstance(node, ast.Call)]
            early = [ast.unparse(c) for c in calls if mentions(c.func, built.late)]
            assert early == [], f"{chapter}, before {first.own} of {first.chapter}"


def test_chapter_3_compiles_and_fits():
    text = "\n".join(map(ast.unparse, trees("03-mse")))
    assert re.search(r"\.compile\(", text) and re.search(r"\.fit\(", text)


# --- the tests' own reading of code


@pytest.mark.parametrize(
    ("code", "agree"),
    [
        ("def f(x): return x\nassert f(1) == srlib.psnr(1)", True),
        ("def f(x): return x\na = f(1)\nb = srlib.psnr(1)\nassert np.isclose(a, b)", True),
        ("def f(x): return x\nfor g in (f,):\n    a = g(1)\nassert a == srlib.psnr(1)", True),
        ("def f(x): return x\nnp.testing.assert_array_equal(f(1), srlib.psnr(1))", True),
        ("def f(x): return x\nassert f(1) == 1\nassert srlib.psnr(1) == 1", False),
        ("def f(x): return x\na = f(1)\nassert srlib.psnr(1) == 1", False),
    ],
)
def test_an_agreement_is_found_where_there_is_one(code, agree):
    cells = [ast.parse(code)]
    own, theirs = derived(cells, "f"), derived(cells, "srlib.psnr")
    assert any(mentions(n, own) and mentions(n, theirs) for n in asserts(cells)) == agree


# --- cells and prose of every chapter


chapters = pytest.mark.parametrize("path", tool.notebooks(), ids=lambda path: path.stem)


def prose_calls(code: str) -> list[str]:
    """Calls of ``Markdown`` and its like that are given anything but one of the book's tables."""
    found = []
    for node in ast.walk(ast.parse(re.sub(r"^(\s*)[%!].*$", r"\1pass", code, flags=re.M))):
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in (
            "Markdown", "display_markdown", "Latex",
        ):  # fmt: skip
            given = node.args[0] if node.args else None
            is_table = isinstance(given, ast.Call) and ast.unparse(given.func).startswith("tables.")
            found += [] if is_table else [ast.unparse(node)]
    return found


def test_prose_in_code_is_found():
    assert prose_calls('Markdown(f"{x}")') and prose_calls("Markdown(text)")
    assert prose_calls("Markdown('a {}'.format(1))") and prose_calls("IPython.display.Markdown(x)")
    assert not prose_calls("Markdown(tables.markdown(head, rows))")


@chapters
def test_prose_is_no_code(path):
    cells = nbformat.read(path, as_version=4).cells
    assert [c for cell in cells if cell.cell_type == "code" for c in prose_calls(cell.source)] == []


@chapters
def test_code_fits_the_page(path):
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            lines = [line for line in cell.source.splitlines() if "%pip" not in line]
            assert [line for line in lines if len(line) > 84] == []


@chapters
def test_the_next_link_leads_to_the_next_chapter(path):
    order = tool.notebooks()
    after = order[order.index(path) + 1].stem if path != order[-1] else None
    texts = [c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "markdown"]
    links = re.findall(r"\bNext: \[[^\]]+\]\(([^)]+)\)", "\n".join(texts))
    assert links == ([after] if after else [])
    assert not after or f"]({after})" in texts[-1]
