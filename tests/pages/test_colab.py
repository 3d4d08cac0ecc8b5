"""The path of a learner in Colab: no srlib there, and a TensorFlow to be left alone.

Chapter 1 runs to its end in a new environment that holds TensorFlow and Jupyter
only, from an empty folder. Its set-up cell is run as it stands; git is told to
fetch the address in it from a repository on disk, which holds what git would hold
of this tree, committed or not. As in Colab, nothing constrains that install.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHAPTER = ROOT / "book" / "01-data.ipynb"

RUN = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
resources = {"metadata": {"path": sys.argv[3]}}
try:
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()
finally:
    nbformat.write(notebook, sys.argv[2])
"""

INSTALLED = """
import json
from importlib.metadata import distributions
print(json.dumps({d.metadata["Name"].lower(): d.version for d in distributions()}))
"""


def _address() -> str:
    return yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]["url"]


def _environment(venv: Path, home: Path, repository: Path) -> dict[str, str]:
    """What the new environment sees: nothing of this one, and git a copy on disk."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "SRLIB_", "JUPYTER", "VIRTUAL_ENV", "IPYTHON", "PYTEST"))
    }
    return kept | {
        "PATH": f"{venv / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONNOUSERSITE": "1",
        "JUPYTER_DATA_DIR": str(home / "jupyter"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "IPYTHONDIR": str(home / "ipython"),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "SRLIB_PRESET": "smoke",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{repository.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": _address(),
    }


def _tracked() -> list[str]:
    """Files that git holds or would hold; those deleted from the tree left out."""
    command = ["git", "ls-files", "-z", "-co", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"not a git repository: {done.stderr.strip()}")
    return sorted({n for n in done.stdout.split("\0") if n and (ROOT / n).is_file()})


def _repository(folder: Path) -> list[str]:
    """A git repository in ``folder`` with this tree as its only commit."""
    names = _tracked()
    for name in names:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost"]
    for command in (
        ["init", "-q", "-b", "main"],
        ["add", "-A"],
        ["commit", "-q", "--no-verify", "-m", "the tree under test"],
    ):
        subprocess.run([*git, *command], cwd=folder, check=True, capture_output=True)
    return names


def _make_venv(venv: Path) -> None:
    """TensorFlow and what runs a notebook; nothing of srlib's own needs."""
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    lock = ROOT / "constraints.txt"
    constraints = ["-c", str(lock)] if lock.exists() else []
    pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "--retries", "1"]
    done = subprocess.run(
        [*pip, "tensorflow", "nbclient", "ipykernel", *constraints],
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    if done.returncode and re.search(r"Retrying \(|ConnectionError|Temporary failure", said):
        pytest.skip("no package index can be reached, so no Colab-like environment can be made")
    assert done.returncode == 0, said


class Colab:
    """The environment, before and after chapter 1 ran in it."""

    def __init__(self, folder: Path) -> None:
        self.venv = folder / "venv"
        self.empty = folder / "content"
        self.empty.mkdir()
        self.repository = folder / "repository"
        self.repository.mkdir()
        self.names = _repository(self.repository)
        self.environment = _environment(self.venv, folder, self.repository)
        _make_venv(self.venv)
        self.before = self.installed()
        self.tensorflow_before = self.record("tensorflow")
        self.source = self._notebook(folder / "01-data.ipynb")
        result = folder / "executed.ipynb"
        self.run = self.python(RUN, self.source, result, self.empty)
        self.executed = nbformat.read(result, as_version=4)
        self.after = self.installed()
        (self.site,) = (self.venv / "lib").glob("python3*/site-packages")

    def _notebook(self, path: Path) -> Path:
        notebook = nbformat.read(CHAPTER, as_version=4)
        first = next(cell for cell in notebook.cells if cell.cell_type == "code")
        assert f'"srlib @ git+{_address()}"' in first.source
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        notebook.cells.append(nbformat.v4.new_code_cell("print(srlib.__file__)"))
        nbformat.write(notebook, path)
        return path

    def python(self, code: str, *arguments) -> subprocess.CompletedProcess:
        command = [str(self.venv / "bin" / "python"), "-c", code, *map(str, arguments)]
        return subprocess.run(
            command,
            cwd=self.empty,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def installed(self) -> dict[str, str]:
        done = self.python(INSTALLED)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def record(self, name: str) -> tuple[str, int]:
        """The file list of a package with its hashes, and when it was written."""
        (path,) = (self.venv / "lib").glob(f"python3*/site-packages/{name}-*.dist-info/RECORD")
        return path.read_text(), path.stat().st_mtime_ns


@pytest.fixture(scope="module")
def colab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("colab")
    yield Colab(folder)
    shutil.rmtree(folder, ignore_errors=True)  # 2 GB


def test_srlib_and_its_plots_are_not_there_before_the_set_up_cell(colab):
    assert "tensorflow" in colab.before
    assert not {"srlib", "matplotlib", "safetensors"} & set(colab.before)


def test_chapter_1_runs_to_its_end(colab):
    assert colab.run.returncode == 0, colab.run.stdout + colab.run.stderr
    counts = [c.execution_count for c in colab.executed.cells if c.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))  # one kernel, no restart
    for cell in colab.executed.cells:
        for output in cell.get("outputs", []):
            assert output.output_type != "error", output
            assert "ERROR" not in output.get("text", ""), output.text  # %pip fails softly


def test_srlib_is_imported_from_the_environment_not_from_a_checkout(colab):
    imported = Path(colab.executed.cells[-1].outputs[0].text.strip())
    assert imported.parent == colab.site / "srlib"
    (direct_url,) = colab.site.glob("srlib-*.dist-info/direct_url.json")
    origin = json.loads(direct_url.read_text())
    assert "vcs_info" in origin  # from git, and so not editable
    assert not origin.get("dir_info", {}).get("editable", False)


def test_tensorflow_and_all_else_that_was_there_is_left_alone(colab):
    assert colab.record("tensorflow") == colab.tensorflow_before
    changed = {
        name: (version, colab.after.get(name))
        for name, version in colab.before.items()
        if colab.after.get(name) != version
    }
    assert not changed, f"the set-up cell replaced packages: {changed}"


def test_the_installed_package_is_complete(colab):
    package = colab.site / "srlib"
    installed = {
        path.relative_to(colab.site).as_posix()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    expected = {name for name in colab.names if name.startswith("srlib/")}
    assert installed == expected
    for needed in (
        "py.typed",
        "data/embedded/train/*/*.jpg",
        "data/embedded/ATTRIBUTION.md",
        "models/weights/*.safetensors",
        "models/weights/*.json",
        "book/recorded/*.json",
    ):
        assert list(package.glob(needed)), f"srlib/{needed} is not in the package"


def test_nothing_is_left_in_the_working_folder(colab):
    assert not list(colab.empty.iterdir())
