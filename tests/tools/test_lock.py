"""Every Python of the book finds one pin of each package, and can run it.

Judged by what the installed packages say of themselves (what they need, on which
Python), which is where pip reads it too, and not by how the lock was computed.
"""

import re
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
#: The oldest patch release of each Python, and the one that Debian 12 has.
PYTHONS = ("3.10.0", "3.11.0", "3.11.2", "3.12.0", "3.13.0")
#: Every release that a marker can tell apart.
PATCHES = [f"3.{minor}.{patch}" for minor in range(10, 14) for patch in range(25)]


def requirements(name: str) -> list[Requirement]:
    lines = (ROOT / name).read_text().splitlines()
    return [Requirement(line) for line in (raw.split("#")[0].strip() for raw in lines) if line]


def applies(requirement: Requirement, python: str, extras: frozenset = frozenset()) -> bool:
    versions = {"python_full_version": python, "python_version": python.rpartition(".")[0]}
    return requirement.marker is None or any(
        requirement.marker.evaluate({**default_environment(), **versions, "extra": extra})
        for extra in extras or {""}
    )


def pins(python: str) -> dict[str, list[str]]:
    """The versions that the lock gives each package on ``python``."""
    found = {}
    for pin in requirements("constraints.txt"):
        if applies(pin, python):
            version = re.fullmatch(r"==([^,*]+)", str(pin.specifier)).group(1)
            found.setdefault(canonicalize_name(pin.name), []).append(version)
    return found


def installed(name: str):
    try:
        return distribution(name)
    except PackageNotFoundError:  # needed on another Python alone
        return None


@pytest.mark.parametrize("python", PYTHONS)
def test_every_python_has_one_pin_of_everything_it_needs(python):
    lock = pins(python)
    waiting, seen = requirements("requirements.txt"), set()
    while waiting:
        need = waiting.pop()
        name, extras = canonicalize_name(need.name), frozenset(need.extras)
        assert len(lock.get(name, [])) == 1, f"{name} on {python}: {lock.get(name)}"
        assert need.specifier.contains(lock[name][0], prereleases=True), f"{need} on {python}"
        here = installed(name)
        # Another version than the one installed may need other packages.
        if (name, extras) not in seen and here and here.version == lock[name][0]:
            needs = map(Requirement, here.requires or ())
            waiting += [r for r in needs if applies(r, python, extras)]
        seen.add((name, extras))
    assert len(seen) > 100, "the walk through the requirements reached too little"


def test_what_is_installed_is_pinned_and_runs_wherever_its_pin_applies():
    wrong = []
    checked = 0
    for pin in requirements("constraints.txt"):
        here = installed(pin.name)
        if here and pin.specifier.contains(here.version, prereleases=True):
            checked += 1
            runs_on = SpecifierSet(here.metadata.get("Requires-Python") or "")
            admitted = [p for p in PATCHES if applies(pin, p)]
            wrong += [f"{pin} on {p}" for p in admitted if not runs_on.contains(p)][:1]
    assert checked > 100
    assert wrong == []


def test_the_running_python_has_the_locked_versions():
    lock = pins(default_environment()["python_full_version"])
    other = {
        name: (here.version, versions)
        for name, versions in lock.items()
        if (here := installed(name)) and [here.version] != versions
    }
    assert other == {}, "installed, but not as locked: run `make .venv/.ready`"


def test_the_lock_names_no_index_and_no_path():
    text = (ROOT / "constraints.txt").read_text()
    assert re.findall(r"https?:|file:|^-|index|find-links|@", text, re.M) == []
