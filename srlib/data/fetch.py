"""Fetch an archive over an unreliable net: resume, time out, say what is wrong."""

from __future__ import annotations

import re
import time
from pathlib import Path

import requests
from tqdm import tqdm
from urllib3.exceptions import HTTPError

from srlib.data.archives import CHUNK, kind
from srlib.errors import PhotoError

#: Seconds a server may be silent, when connecting and between two bytes.
TIMEOUT = 30.0


#: A stream that breaks is asked again; these are the tries that bring nothing new.
TRIES = 4


class _Broken(Exception):
    """A failure that another try may mend."""


def fetch(
    url: str,
    part: Path,
    *,
    timeout: float = TIMEOUT,
    tries: int = TRIES,
    backoff: float = 1.0,
) -> None:
    """Download an archive into ``part``, going on with what is already there.

    Args:
        url: an http(s) address.
        part: the file; after a failure it stays, for the next call to go on.
        timeout: seconds of silence, when connecting or receiving, to give up after.
        tries: how many tries in a row may bring nothing new.
        backoff: seconds to wait after the first of those; then twice as long each.

    Raises:
        PhotoError: naming the address and what went wrong.
    """
    best, failures = 0, 0
    while True:
        if part.exists() and kind(part) is None:
            part.unlink()  # for example the page of a hotel's log-in
        try:
            _receive(url, part, timeout)
            break
        except (requests.ConnectionError, requests.Timeout, HTTPError, _Broken) as error:
            size = part.stat().st_size if part.exists() else 0
            failures = 1 if size > best else failures + 1
            best = max(size, best)
            if failures >= tries:
                raise PhotoError(_why(url, error, size, timeout)) from error
            time.sleep(min(backoff * 2 ** (failures - 1), 30))
        except requests.RequestException as error:
            raise PhotoError(f"{url}: cannot be downloaded ({error})") from error
    if kind(part) is None:
        with open(part, "rb") as file:
            start = file.read(40)
        part.unlink()
        raise PhotoError(
            f"{url}: answered with something that is no archive (it starts with {start!r}); "
            "perhaps an error page or a network's log-in page. It has been deleted. "
            "Check the address, or pass a folder of photos as the source"
        )


def _why(url: str, error: Exception, size: int, timeout: float) -> str:
    silent = isinstance(error, requests.Timeout) or "timed out" in str(error)
    reason = f"no answer within {timeout:g} seconds" if silent else str(error)
    kept = f" {size:,} bytes are kept for the next call to go on with." if size else ""
    return (
        f"{url}: the download failed: {reason}.{kept} Check the connection and try again, "
        "or pass a folder of photos as the source: photos('path/to/folder')"
    )


def _receive(url: str, part: Path, timeout: float) -> None:
    """One request; returns only when the file is complete."""
    have = part.stat().st_size if part.exists() else 0
    # "identity": some servers else compress the archive again, and the lengths lie.
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    with requests.get(url, headers=headers, stream=True, timeout=timeout) as response:
        span = response.headers.get("Content-Range", "")
        if response.status_code == 416:
            if span == f"bytes */{have}":
                return  # killed after the last byte: it was complete
            part.unlink(missing_ok=True)
            raise _Broken("the file there is not the one that was begun")
        if response.status_code in (408, 429) or response.status_code >= 500:
            raise _Broken(f"the server answered {response.status_code} {response.reason}")
        if response.status_code not in (200, 206):
            raise PhotoError(
                f"{url}: the server answered {response.status_code} {response.reason}; the file "
                "may have moved. Pass another address by url=, or a folder of photos as the "
                "source: photos('path/to/folder')"
            )
        if response.status_code == 206:
            match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", span)
            if not match or int(match[1]) != have:
                part.unlink(missing_ok=True)
                raise _Broken(f"the server sent another piece than asked for ({span!r})")
            total = int(match[2])
        else:  # the whole file, from its start: this server cannot resume
            have = 0
            total = int(response.headers.get("Content-Length", 0)) or None
        bar = tqdm(
            total=total, initial=have, unit="B", unit_scale=True, desc=part.stem, leave=False
        )
        with bar, open(part, "ab" if have else "wb") as file:
            for chunk in response.raw.stream(CHUNK, decode_content=False):
                file.write(chunk)
                bar.update(len(chunk))
    size = part.stat().st_size
    if total is not None and size != total:
        if size > total:
            part.unlink()
        raise _Broken(f"cut short after {size:,} of {total:,} bytes")
