"""Where an export goes: refused before anything is computed, put there in one step."""

from __future__ import annotations

import os
import re
from pathlib import Path

from srlib.export.formats import FORMATS, ExportError, reason

#: Every file and folder of a SavedModel of ours.
SAVED_MODEL = re.compile(
    r"(saved_model|fingerprint)\.pb|variables(/variables\.(index|data-\d{5}-of-\d{5}))?"
    r"|assets|assets\.extra(/srlib\.json)?"
)


def refuse_unsafe(target: Path, folder: bool, overwrite: bool) -> None:
    """Refuse to replace what is not an earlier export, or anything unasked."""
    if not target.parent.is_dir():
        raise ExportError(f"{target}: there is no folder {target.parent}; make it first")
    if not (target.exists() or target.is_symlink()):
        return
    if not overwrite:
        raise ExportError(f"{target}: exists already; choose another name, or overwrite it")
    if folder:
        _refuse_another_folder(target)
    if not folder and target.is_dir():
        raise ExportError(f"{target}: is a folder; name a file")


def _refuse_another_folder(target: Path) -> None:
    """Of what a SavedModel replaces, everything must be what an export writes."""
    try:
        ours = FORMATS["savedmodel"].metadata(target)["made_by"].startswith("srlib ")
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        ours = False
    if not ours:  # somebody's photos, perhaps
        raise ExportError(f"{target}: is no SavedModel of srlib, so it is not replaced by one")
    for path in sorted(target.rglob("*")):
        if not SAVED_MODEL.fullmatch(path.relative_to(target).as_posix()):
            raise ExportError(
                f"{target}: holds {path.relative_to(target)}, which is no part of a SavedModel, "
                "so it is not replaced by one; move that away, or choose another name"
            )


def put_in_place(aside: Path, target: Path) -> None:
    """Make what was written aside the target; a failure leaves the old one."""
    if not target.is_dir():
        os.replace(aside, target)
        return
    # A folder cannot be replaced by another in one step. The old one waits outside of the
    # temporary folder, which is removed whatever happens.
    old = aside.parent.with_name(f"{aside.parent.name}.old")
    try:
        os.replace(target, old)
        os.replace(aside, target)
    except BaseException:
        if os.path.lexists(old):
            _put_back(old, target)
        raise
    os.replace(old, aside)  # to be removed with the temporary folder


def _put_back(old: Path, target: Path) -> None:
    try:
        os.replace(old, target)
    except OSError as error:
        raise ExportError(
            f"{target}: can be neither replaced nor put back ({reason(error)}); it is now {old}"
        ) from error
