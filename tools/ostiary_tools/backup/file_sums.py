"""Every file of an unpacked base backup held against the `backup_manifest` that PostgreSQL wrote into it.

Our own reading of it: the program for that is broken in some builds, and stops at the first directory it dislikes. Blocking.
"""

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ostiary_tools.errors import Damaged

NAME = "backup_manifest"
_WAL = "pg_wal"
_ALGORITHMS = {"SHA224": "sha224", "SHA256": "sha256", "SHA384": "sha384", "SHA512": "sha512"}
_HINT = "use another backup"


@dataclass(frozen=True, slots=True)
class Base:
    """What the manifest says of the whole."""

    files: int
    bytes: int
    timeline: int
    start_lsn: str
    end_lsn: str
    system_identifier: str | None
    """Versions before 17 do not say."""


def verify(data_dir: Path, threads: int = 2, told: Callable[[int], None] = lambda _: None) -> Base:
    """Raises Damaged for the first file that is missing, of another size, changed, or too many.

    `told` takes zero after each file, and may raise.
    """
    base, files = _read(data_dir)
    for path in _present(data_dir):
        if path not in files:
            raise Damaged(path, f"the backup has a file `{path}` too many", _HINT)
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(lambda item: _compare(data_dir, *item), sorted(files.items())):
            told(0)
    return base


def stated(folder: Path) -> Base:
    """What the manifest in that folder says, without any of the files. Raises Damaged."""
    return _read(folder)[0]


def _read(folder: Path) -> tuple[Base, Mapping[str, Mapping[str, Any]]]:
    """What it says, and of each file by its path."""
    told = _stated(folder)
    try:
        files = {_path(file): file for file in told["Files"]}
        first, *others = told["WAL-Ranges"]
        base = Base(
            len(files),
            sum(int(file["Size"]) for file in files.values()),
            int(first["Timeline"]),
            str(first["Start-LSN"]),
            str(first["End-LSN"]),
            str(told["System-Identifier"]) if "System-Identifier" in told else None,
        )
    except (KeyError, TypeError, ValueError):
        raise Damaged(NAME, f"`{NAME}` of the backup cannot be read", _HINT) from None
    if others:
        raise Damaged(NAME, "the backup was taken over a change of the timeline", _HINT)
    return base, files


def _stated(data_dir: Path) -> Mapping[str, Any]:
    """The manifest, which sums itself in its last line."""
    try:
        raw = (data_dir / NAME).read_bytes()
        told = json.loads(raw)
        before = raw[: raw.rindex(b"\n", 0, raw.rindex(b'"Manifest-Checksum"')) + 1]
        whole = hashlib.sha256(before).hexdigest() == told["Manifest-Checksum"]
    except FileNotFoundError:
        raise Damaged(NAME, f"the backup has no `{NAME}`: it did not come to its end", _HINT) from None
    except (ValueError, KeyError, TypeError):
        whole, told = False, {}
    if not whole:
        raise Damaged(NAME, f"`{NAME}` of the backup is not as it was written", _HINT)
    if told.get("PostgreSQL-Backup-Manifest-Version") not in (1, 2):
        raise Damaged(NAME, f"`{NAME}` of the backup is of another format", "use a newer version of ostiary")
    return dict(told)


def _path(file: Mapping[str, Any]) -> str:
    """A name in it may be of any bytes, and leads nowhere else."""
    path = str(file["Path"]) if "Path" in file else os.fsdecode(bytes.fromhex(file["Encoded-Path"]))
    if path.startswith("/") or ".." in path.split("/"):
        raise ValueError(path)
    return path


def _present(data_dir: Path) -> Iterator[str]:
    for folder, _, names in os.walk(data_dir):
        inside = os.path.relpath(folder, data_dir)
        if inside == _WAL or inside.startswith(f"{_WAL}/"):
            continue
        for name in names:
            path = name if inside == "." else os.path.join(inside, name)  # noqa: PTH118 names of any bytes
            if path != NAME:
                yield path


def _compare(data_dir: Path, path: str, file: Mapping[str, Any]) -> None:
    try:
        with open(os.path.join(data_dir, path), "rb") as stream:  # noqa: PTH118, PTH123 names of any bytes
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_size != int(file["Size"]):
                raise Damaged(path, f"the file `{path}` of the backup has another size than it had", _HINT)
            found = hashlib.file_digest(stream, _ALGORITHMS[file["Checksum-Algorithm"]]).hexdigest()
    except FileNotFoundError:
        raise Damaged(path, f"the file `{path}` of the backup is missing", _HINT) from None
    except (KeyError, ValueError):
        raise Damaged(NAME, f"`{NAME}` of the backup sums the file `{path}` in no way that finds damage", _HINT) from None
    if found != file.get("Checksum"):
        raise Damaged(path, f"the file `{path}` of the backup is not as it was written", _HINT)
