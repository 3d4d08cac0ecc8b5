"""Fetch a file from the net; what has come of it is kept, and gone on with."""

from __future__ import annotations

from pathlib import Path

import requests
from tqdm import tqdm
from urllib3.exceptions import HTTPError as BrokenStream

from srlib.errors import PhotoError, one_line

#: Seconds a server may be silent, when connecting and between two bytes.
TIMEOUT = 30.0


def fetch(url: str, part: Path) -> None:
    """Download a file, going on with what is already there.

    Args:
        url: an http(s) address.
        part: the file; after a failure it stays, for the next call to go on.

    Raises:
        PhotoError: naming the address and what went wrong.
    """
    have = part.stat().st_size if part.exists() else 0
    try:
        _receive(url, part, have)
    except (requests.RequestException, BrokenStream) as error:
        size = part.stat().st_size if part.exists() else 0
        kept = f"; {size:,} bytes are kept for the next call to go on with" if size else ""
        raise PhotoError(f"{url}: the download failed ({one_line(error)}){kept}") from error


def _receive(url: str, part: Path, have: int) -> None:
    # "identity": some servers else compress the archive again, and the lengths lie.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if response.status_code == 416:
            if response.headers.get("Content-Range") == f"bytes */{have}":
                return  # killed after the last byte: it was complete
            part.unlink()  # it is no piece of the file that is there now
        response.raise_for_status()
        if response.status_code != 206:
            have = 0  # the whole file, from its start: this server cannot resume
        total = have + int(response.headers.get("Content-Length", 0))
        bar = tqdm(
            total=total or None,
            initial=have,
            unit="B",
            unit_scale=True,
            desc=part.stem,
            leave=False,
        )
        with bar, part.open("ab" if have else "wb") as file:
            for chunk in response.raw.stream(2**16, decode_content=False):
                bar.update(file.write(chunk))
    if (size := part.stat().st_size) < total:  # urllib3 below 2 does not mind
        raise requests.ConnectionError(f"cut short after {size:,} of {total:,} bytes")
