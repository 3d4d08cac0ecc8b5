"""A chapter's stamp: a hash of its code cells and of all that they use of srlib.

What code uses is found by reading it, without running it: every import, also one
inside a function, every name that a package loads when it is first asked for, and
of those modules the same again. With a module come the files of data that it
names; recorded results one by one, where the code says which it reads.

Where the answer is not plain in the code, the stamp covers too much rather than
too little. Comments, docstrings and layout of srlib's code change no stamp.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

#: What of srlib.book.results reads a recorded result.
READERS = {"read", "rows", "FOLDER"}
#: A text that is a program for another process, and uses srlib.
PROGRAM = re.compile(r"^\s*(?:import|from) srlib\b|^srlib \w|-m srlib\b", re.M)
#: Who uses these shows docstrings or comments, so that they count.
SHOWS_TEXT = {"__doc__", "getdoc", "getsource", "getsourcelines", "help"}
#: These import by a table, which is looked up where a name is asked for.
DOORMEN = ("srlib", "srlib._lazy")


class Code:
    """One module, or the code cells of one chapter, and what it names."""

    def __init__(self, text: str, package: str = "") -> None:
        self.text = text
        self.package = package  # what its relative imports start from
        self.tree = _as_run(ast.parse(text))
        self.nodes = list(ast.walk(self.tree))
        calls = [node for node in self.nodes if isinstance(node, ast.Call)]
        self.called = {id(call.func): call for call in calls}
        constants = [node.value for node in self.nodes if isinstance(node, ast.Constant)]
        self.texts = {value for value in constants if isinstance(value, str)}
        asked = [_written(call, 1) for call in calls if _name(call.func) == "getattr"]
        self.words = {node.attr for node in self.nodes if isinstance(node, ast.Attribute)}
        self.words |= {name for name in asked if name}
        self.asks_anything = None in asked
        imported = [call for call in calls if _name(call.func) in ("import_module", "__import__")]
        # A plain name stands for a text that is written out somewhere, and so found there.
        self.imports_anything = any(
            not isinstance(call.args[0], ast.Constant | ast.Name) for call in imported
        ) or any(PROGRAM.search(text) for text in self.texts | self._commands())
        self.shows_text = bool(SHOWS_TEXT & {_name(node) for node in self.nodes})

    def _commands(self) -> set[str]:
        """Lists of texts, as another process is given them, in one line each."""
        lists = [node.elts for node in self.nodes if isinstance(node, ast.List | ast.Tuple)]
        words = [[getattr(item, "value", "") for item in items] for items in lists]
        return {" ".join(word if isinstance(word, str) else "?" for word in line) for line in words}

    def imports(self) -> Iterator[tuple[str, str, str]]:
        """Every import: ``(module, name, local name)``; no name where a module is imported."""
        for node in self.nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield alias.name, "", alias.asname or alias.name.split(".")[0]
            elif isinstance(node, ast.ImportFrom):
                above = self.package.split(".")
                above = above[: len(above) - node.level + 1] if node.level else []
                module = ".".join([*above, *filter(None, [node.module])])
                for alias in node.names:
                    yield module, alias.name, alias.asname or alias.name

    def recorded(self) -> set[str] | None:
        """Names of the recorded results that it reads; None where they are not plain."""
        local = set()
        for module, name, alias in self.imports():
            if (module, name) == ("srlib.book", "results"):
                local.add(alias)
            elif module == "srlib.book.results":
                return None
        attributes = [node for node in self.nodes if isinstance(node, ast.Attribute)]
        owners = {id(node.value) for node in attributes}
        uses = [node for node in self.nodes if isinstance(node, ast.Name) and node.id in local]
        if any(id(node) not in owners and isinstance(node.ctx, ast.Load) for node in uses):
            return None  # given to somebody else
        readers = [
            self.called.get(id(node))
            for node in attributes
            if node.attr in READERS and _name(node.value) in local | {"results"}
        ]
        found = [_written(call, 0) if call else None for call in readers]
        names = {name for name in found if name is not None}
        return names if None not in found else None

    def shape(self) -> str:
        """The code without comments, docstrings and layout; the same in every Python."""
        return self.text if self.shows_text else repr(_shape(self.tree))


def _as_run(tree: ast.Module) -> ast.Module:
    """Without docstrings, and without what only type checkers see."""
    for node in ast.walk(tree):
        for field in ("body", "orelse", "finalbody"):
            if isinstance(body := getattr(node, field, None), list):
                setattr(node, field, [child for child in body if not _only_for_types(child)])
        documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    return tree


def _only_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and _name(node.test) == "TYPE_CHECKING" and not node.orelse


def _name(node: ast.AST) -> str:
    """The last name of ``a``, or of ``a.b.c``."""
    return getattr(node, "attr", getattr(node, "id", ""))


def _written(call: ast.Call, place: int) -> str | None:
    """An argument that is written out as a text, or None."""
    found = call.args[place] if len(call.args) > place else None
    if isinstance(found, ast.Constant) and isinstance(found.value, str):
        return found.value
    return None


def _shape(node: object) -> object:
    """A syntax tree as nested tuples; ``ast.dump`` differs from Python to Python."""
    if isinstance(node, list):
        return [_shape(item) for item in node]
    if not isinstance(node, ast.AST):
        return node
    fields = [(name, value) for name, value in ast.iter_fields(node) if value not in (None, [])]
    return (type(node).__name__, *((name, _shape(value)) for name, value in fields))


class Package:
    """srlib on disk, read once: its modules, what they load when asked, its files of data."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.modules: dict[str, Code] = {}
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder.parent).with_suffix("").parts
            around = ".".join(parts[:-1])
            name = around if parts[-1] == "__init__" else ".".join(parts)
            self.modules[name] = Code(path.read_text(encoding="utf-8"), around)
        self.tables = {name: self._table(name) for name in self.modules}
        self.data = [
            path
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts
        ]
        self.used = {name: self.used_by(code) for name, code in self.modules.items()}

    def _table(self, module: str) -> dict[str, set[str]]:
        """Names that a package loads when asked: its tables hold name: home or home: names."""
        found: dict[str, set[str]] = {}
        for node in self.modules[module].nodes:
            try:
                table = ast.literal_eval(node) if isinstance(node, ast.Dict) else {}
            except (ValueError, TypeError):
                continue
            for key, value in table.items():
                pairs = [(key, value)] if isinstance(value, str) else []
                pairs += [(name, key) for name in value] if isinstance(value, tuple | list) else []
                for name, home in pairs:
                    if f"{module}.{home}" in self.modules:
                        found.setdefault(name, set()).add(f"{module}.{home}")
        return found

    def inside(self, module: str) -> set[str]:
        """A module and all below it."""
        return {name for name in self.modules if f"{name}.".startswith(f"{module}.")}

    def around(self, module: str) -> set[str]:
        """A module and the packages that it lies in, whose own code runs before it."""
        return {name for name in self.modules if f"{module}.".startswith(f"{name}.")}

    def homes(self, module: str, word: str) -> set[str]:
        """What may be loaded when a module is asked for a name."""
        below = {f"{module}.{word}"} & self.modules.keys()
        return below or self.tables[module].get(word, set())

    def used_by(self, code: Code) -> set[str]:
        """The modules that this code itself imports or asks for."""
        doormen = [self.modules.get(name) for name in DOORMEN]
        if code.imports_anything and code not in doormen:
            return set(self.modules)
        run: set[str] = set()
        named: set[str] = set()  # those that this code can ask for more
        for module, name, local in code.imports():
            run.add(module)
            if name == "*":
                run |= self.inside(module)
            elif not name:
                named |= {module, local} & self.modules.keys()
            elif module in self.modules:
                homes = self.homes(module, name)
                run |= homes
                named |= homes & {f"{module}.{name}"}
        run |= code.texts & self.modules.keys()
        while True:
            asked = {home for m in named for word in code.words for home in self.homes(m, word)}
            if code.asks_anything:
                asked |= set().union(*map(self.inside, named))
            if asked <= named:
                return set().union(*map(self.around, run | named))
            named |= asked

    def closure(self, code: Code) -> set[str]:
        """All modules that can run when this code runs."""
        reached: set[str] = set()
        waiting = self.used_by(code)
        while waiting:
            reached |= waiting
            waiting = set().union(*(self.used[name] for name in waiting)) - reached
        return reached

    def files(self, code: Code, modules: Iterable[str]) -> list[Path]:
        """The files of data that this code can read through these modules."""
        read = [found.recorded() for found in (code, *(self.modules[m] for m in modules))]
        plain = [names for names in read if names is not None]
        recorded = set().union(*plain) if len(plain) == len(read) else None
        found = []
        for path in self.data:
            readers = self._readers(path)
            named = bool(readers)
            if recorded is not None and path.stem not in recorded:
                readers.discard("srlib.book.results")  # which reads what it is asked for
            if not named or not readers.isdisjoint(modules):
                found.append(path)
        return found

    def _readers(self, path: Path) -> set[str]:
        """The modules that name a file of data, or the folder of the room that it lies in."""
        room = next(up for up in path.parents if (up / "__init__.py").exists())
        word = path.relative_to(room).parts[0]
        return {name for name, code in self.modules.items() if word in code.texts}

    def stamp(self, cells: list[str]) -> str:
        """What the outputs of code cells depend on, in sixteen hex digits."""
        digest = hashlib.sha256("\0".join(cells).encode())
        try:
            # Lines for IPython itself are no Python.
            code = Code(re.sub(r"^(\s*)[%!].*$", r"\1pass", "\n".join(cells), flags=re.M))
            modules = sorted(self.closure(code))
            files = self.files(code, modules)
        except SyntaxError:
            code, modules, files = None, sorted(self.modules), self.data
        for name in modules:
            module = self.modules[name]
            whole = code is None or code.shows_text
            digest.update(f"\0{name}\0{module.text if whole else module.shape()}".encode())
        for path in files:
            name = path.relative_to(self.folder).as_posix()
            digest.update(f"\0{name}\0".encode() + path.read_bytes())
        return digest.hexdigest()[:16]
