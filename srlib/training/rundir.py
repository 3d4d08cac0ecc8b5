"""A run's folder: its files, which of all files are its own, and one training at a time.

Whatever cannot be shown to be the run's own is somebody else's: it is neither
replaced nor removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import socket
import stat
import sys
import warnings
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from srlib._files import ASIDE, write_whole
from srlib.errors import SrlibError, one_line

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

STATE = "state.json"
_KINDS = {"step": int, "weights": str, "best": str, "sha256": dict}
#: Of state.json. Before it had a number, weights were kept in Keras' own .weights.h5.
FORMAT = 2
#: There while a training is going on; what counts is the lock on it, which ends with its process.
LOCK = "srlib.lock"
#: There while several workers find out whether they share the folder.
MARK = "everyone-sees-this.part"
_WEIGHTS = re.compile(r"(?:weights|best)-([0-9a-f]{16})\.safetensors")
_HOLDER = re.compile(r"(?:process \d+ on \S+)?")
#: What file managers leave, besides hidden files: it keeps nobody from training here.
_NOBODYS = {"Thumbs.db", "desktop.ini"}


class CheckpointError(SrlibError):
    """A run's folder that cannot be gone on with; the message says why and what to do."""


def read_state(folder: Path) -> dict[str, Any]:
    """What ``state.json`` says, or the state of a run that has not begun.

    Raises:
        CheckpointError: when it is damaged or of an older srlib.
    """
    path = folder / STATE
    if not path.exists():
        return {
            "format": FORMAT, "epoch": 0, "step": 0, "seconds": 0.0, "step_seconds": 0.0,
            "weights": "", "best": "", "sha256": {}, "history": [],
        }  # fmt: skip
    try:
        state = json.loads(path.read_text())
        old = state.get("format") != FORMAT
        kinds = {"epoch": int, "history": list} | ({} if old else _KINDS)
        wrong = [key for key, kind in kinds.items() if not isinstance(state.get(key), kind)]
        if wrong:
            raise ValueError(f"it lacks {', '.join(sorted(wrong))}")
        if bool(state["history"]) != bool(state["epoch"]) and not old:
            raise ValueError(f"{len(state['history'])} rows tell of {state['epoch']} epochs")
    except (OSError, ValueError, AttributeError) as error:
        raise _damaged(path, error) from error
    if old:
        raise CheckpointError(
            f"{folder}: holds a run of another version of srlib, which kept its state "
            f"differently; go on with that version, {start_again(folder)}"
        )
    return state


def read(folder: Path, state: dict[str, Any], kind: str) -> dict[str, np.ndarray]:
    """The arrays of a state's file, ``"weights"`` or ``"best"``.

    Raises:
        CheckpointError: when they are not what was saved.
    """
    name = state[kind]
    path = folder / name
    try:
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != state["sha256"].get(name):
            raise ValueError(f"its sha256 is not the one in {STATE}")
        return safetensors.load(content)
    except (OSError, ValueError, SafetensorError) as error:
        raise _damaged(path, error, state["sha256"]) from error


def _damaged(path: Path, error: Exception, known: Collection[str] = ()) -> CheckpointError:
    remedy = f"put a copy of the folder back, {start_again(path.parent, known)}"
    return CheckpointError(f"{path}: is damaged ({one_line(error)}); {remedy}")


def write(
    folder: Path,
    state: dict[str, Any],
    tensors: dict[str, np.ndarray],
    best: dict[str, np.ndarray] | None = None,
) -> dict[str, Any]:
    """Make ``state`` and its tensors what a folder holds, in one step.

    Returns:
        ``state`` with the names of its files and their sha256.

    Raises:
        OSError: when something cannot be written; the folder holds what it held.
    """
    state, known = dict(state), dict(state["sha256"])
    for kind, arrays in (("weights", tensors), ("best", best)):
        if arrays:
            content = safetensors.save(arrays)
            digest = hashlib.sha256(content).hexdigest()
            # A name that tells the content, so that no file in use is written again.
            state[kind] = f"{kind}-{digest[:16]}.safetensors"
            known[state[kind]] = digest
            write_whole(folder / state[kind], content, durable=True)
    state["sha256"] = {name: known[name] for name in (state["weights"], state["best"]) if name}
    write_whole(folder / STATE, json.dumps(state, indent=1), durable=True)
    for file in leftovers(folder, known, kept=state["sha256"]):
        file.unlink(missing_ok=True)
    return state


def strangers(folder: Path, known: Collection[str] = ()) -> list[str]:
    """Names of what is in a folder and not a run's own; hidden files are left out.

    Args:
        folder: of the run.
        known: names of files that the run's state lists.
    """
    visible = (p for p in folder.iterdir() if not p.name.startswith(".") and p.name not in _NOBODYS)
    return sorted(path.name for path in visible if not _is_own(path, known))


def refuse_strangers(folder: Path, known: Collection[str] = ()) -> None:
    """Refuse a folder that holds anything but a run: a CheckpointError."""
    if found := strangers(folder, known):
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        raise CheckpointError(
            f"{folder}: holds {found[0]}{more}, which no training has written, and a run needs a "
            "folder of its own; choose another folder for the run, or move away what is in this one"
        )


def start_again(folder: Path, known: Collection[str] = ()) -> str:
    """What to do about a run that is in the way; nobody is told to delete what is not a run's."""
    if strangers(folder, known):
        return "choose another folder"
    return f"choose another folder, or delete {folder} to start again"


def leftovers(folder: Path, known: Collection[str], kept: Collection[str]) -> list[Path]:
    """Files of a run that it no longer needs, those of a killed process included.

    Args:
        folder: of the run.
        known: names of files that the run's state lists, or listed before.
        kept: names of those that it still needs.
    """
    kept = {STATE, LOCK, *kept}
    return [p for p in folder.iterdir() if p.name not in kept and _is_own(p, known)]


def _is_own(path: Path, known: Collection[str]) -> bool:
    """Whether a run wrote a file: its name is in the state, or tells its content."""
    name = path.name
    weights = _WEIGHTS.fullmatch(name.removesuffix(ASIDE))
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            return False
        if name == LOCK:
            return bool(_HOLDER.fullmatch(path.read_text(errors="replace")))
        if name == MARK:
            return status.st_size == 0
        if name.removesuffix(ASIDE) == STATE or (weights and name.endswith(ASIDE)):
            return True
        if not weights or name in known:
            return bool(weights)
        return hashlib.sha256(path.read_bytes()).hexdigest().startswith(weights[1])
    except FileNotFoundError:  # a training that is going on has just removed it
        return True


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """A folder for this process alone; a killed process leaves no lock.

    Raises:
        CheckpointError: when another one trains there.
    """
    path = folder / LOCK
    file = _open_locked(path)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows removes no open file; it does no harm
            path.unlink()
        file.close()


def _open_locked(path: Path) -> IO[str]:
    while True:
        file = path.open("a+", encoding="utf-8", errors="replace")
        try:
            _lock(file)
        except (BlockingIOError, PermissionError) as error:
            file.seek(0)
            holder = file.read() or "a process that has just begun"
            file.close()
            raise CheckpointError(
                f"another training is going on in {path.parent}, {holder}; wait for it or choose "
                "another folder"
            ) from error
        except OSError as error:
            warnings.warn(
                f"{path.parent}: cannot be locked there ({error.strerror}); see to it that no "
                "other training uses this folder",
                stacklevel=5,
            )
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                break
        file.close()  # whoever held it removed it between our opening and locking it
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}")
    file.flush()
    return file


def _lock(file: IO[str]) -> None:
    """Or raise a BlockingIOError, on Windows a PermissionError, where another process has it."""
    if sys.platform == "win32":
        file.seek(1 << 20)  # beyond the content, which others may then read
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
