"""Execute the notebooks, stamp them, and keep the addresses in them right.

    python -m tools.notebooks execute [--stale] [NAME ...]   run and keep outputs
    python -m tools.notebooks time [NAME ...]                run in `smoke`, keep the seconds
    python -m tools.notebooks check                          list what is stale
    python -m tools.notebooks address                        rewrite set-up cells and badges
    python -m tools.notebooks pages                          rewrite book/_generated
    python -m tools.notebooks words                          count; write the reading times

A notebook's stamp is a hash of its code cells, of what computes the numbers in its
prose (see tools/numbers.py) and of what both use of srlib (see tools/stamps.py). A
page whose stamp does not match shows figures of another version of the code.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from pathlib import Path

import nbformat
import yaml
from nbclient import NotebookClient
from nbformat import NotebookNode

from srlib._files import write_whole
from tools import numbers, pages, stamps, words

ROOT = Path(__file__).parents[1]
BOOK = ROOT / "book"
RUN_TIMES = BOOK / "_generated" / "run-times.json"
PRESET = "cpu"


def notebooks() -> list[Path]:
    """The book's notebooks, in reading order."""
    found = [BOOK / f"{name}.ipynb" for name in pages.reading_order(ROOT)]
    return [path for path in found if path.exists()]


def stamp(notebook: NotebookNode, package: stamps.Package | None = None) -> str:
    """What a notebook's outputs depend on, in sixteen hex digits."""
    package = package or stamps.Package(ROOT / "srlib")
    cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return package.stamp(cells + [f'f"""{field}"""' for field in numbers.fields(notebook)])


def stale(paths: list[Path]) -> list[Path]:
    """Those notebooks whose outputs were made by other code than there is now."""
    package = stamps.Package(ROOT / "srlib")
    read = {path: nbformat.read(path, as_version=4) for path in paths}
    return [
        path
        for path, notebook in read.items()
        if notebook.metadata.get("srlib", {}).get("stamp") != stamp(notebook, package)
    ]


def execute(path: Path, keep: bool = True) -> float:
    """Run one notebook in the environment's preset and keep its outputs; returns seconds."""
    notebook = nbformat.read(path, as_version=4)
    try:
        told = list(numbers.numbers(notebook))
        notebook.cells.append(nbformat.v4.new_code_cell(numbers.program(told)))
        began = time.monotonic()
        client = NotebookClient(
            notebook,
            timeout=900,
            kernel_name="python3",
            record_timing=False,
            extra_arguments=["--log-level=ERROR"],
            resources={"metadata": {"path": str(BOOK)}},
        )
        client.execute()
        seconds = time.monotonic() - began
        values = numbers.answers(notebook.cells.pop().outputs, told)
        if not keep and (wrong := numbers.differences(told, values, cpu=False)):
            raise numbers.NumberError("\n".join(wrong))
    except numbers.NumberError as error:
        raise RuntimeError(f"{path.name}, numbers in prose:\n{error}") from None
    for number, cell in enumerate(notebook.cells, 1):
        if cell.cell_type == "code":
            cell.outputs = joined(cell.outputs)
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                raise RuntimeError(f"{path.name}, cell {number} wrote to stderr: {output.text}")
    if not keep:
        return seconds
    numbers.write(notebook, values)
    notebook.metadata = NotebookNode(
        kernelspec={"display_name": "Python 3", "language": "python", "name": "python3"},
        language_info={"name": "python"},
        colab={"provenance": []},
        srlib={"stamp": stamp(notebook), "preset": PRESET, "numbers": values},
    )
    write(path, notebook)
    return seconds


def joined(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Merge neighbouring pieces of one stream, whose borders depend on timing."""
    kept: list[NotebookNode] = []
    for output in outputs:
        if kept and output.get("name") and output.get("name") == kept[-1].get("name"):
            kept[-1].text += output.text
        else:
            kept.append(output)
    return kept


def write(path: Path, notebook: NotebookNode) -> None:
    """Write aside and rename: an interrupted run leaves the old page whole."""
    nbformat.validate(notebook)
    write_whole(path, nbformat.writes(notebook) + "\n")


def run(chosen: list[Path], preset: str) -> int:
    """Execute notebooks in a preset, showing progress; outputs are kept in ``cpu`` alone."""
    os.environ["SRLIB_PRESET"] = preset
    times = json.loads(RUN_TIMES.read_text()) if RUN_TIMES.exists() else {}
    for number, path in enumerate(chosen, 1):
        print(f"[{number}/{len(chosen)}] executing {path.name} ...", end=" ", flush=True)
        times.setdefault(path.stem, {})[preset] = round(execute(path, keep=preset == PRESET))
        print(f"{times[path.stem][preset]} s", flush=True)
    if chosen:
        RUN_TIMES.parent.mkdir(exist_ok=True)
        RUN_TIMES.write_text(json.dumps(times, indent=1, sort_keys=True) + "\n")
        pages.write_all()
    return 0


def address() -> tuple[str, str]:
    """The repository's URL and branch, from the one place where they stand."""
    repository = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]
    return repository["url"], repository["branch"]


def badge(path: Path) -> str:
    """The "open in Colab" badge of a notebook; its URL is the file's own path."""
    url, branch = address()
    owner_and_name = url.removeprefix("https://github.com/")
    where = path.relative_to(ROOT).as_posix()
    link = f"https://colab.research.google.com/github/{owner_and_name}/blob/{branch}/{where}"
    return f"[Open this chapter in Colab]({link})"


def stamp_addresses() -> None:
    """Write the repository's address into every set-up cell and badge."""
    url, _ = address()
    for path in notebooks():
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.source = re.sub(r"git\+https://[^\"'\s]+", f"git+{url}", cell.source)
            else:
                cell.source = re.sub(
                    r"\[Open this chapter in Colab\]\([^)]*\)", badge(path), cell.source
                )
        write(path, notebook)


def count_words() -> None:
    """Print each chapter's length, and write its reading time into it."""
    lengths = {}
    for path in notebooks():
        notebook = nbformat.read(path, as_version=4)
        lengths[path.stem] = words.length(notebook)
        if words.write_time(notebook):
            write(path, notebook)
    print(words.table(lengths))


def main(arguments: list[str] | None = None) -> int:
    """Run one of the commands; see the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = ("execute", "time", "check", "address", "pages", "words")
    parser.add_argument("command", choices=commands)
    parser.add_argument("names", nargs="*", help="notebooks, without .ipynb; default: all")
    parser.add_argument(
        "--stale", action="store_true", help="only those whose stamp is out of date"
    )
    options = parser.parse_args(arguments)
    chosen = [p for p in notebooks() if not options.names or p.stem in options.names]
    if options.command == "execute":
        return run(stale(chosen) if options.stale else chosen, PRESET)
    if options.command == "time":
        return run(chosen, "smoke")
    if options.command == "address":
        stamp_addresses()
    elif options.command == "pages":
        pages.write_all()
    elif options.command == "words":
        count_words()
    else:
        old = [path.name for path in stale(chosen)]
        print("\n".join(old) or "every notebook is up to date")
        return int(bool(old))
    return 0


if __name__ == "__main__":
    sys.exit(main())
