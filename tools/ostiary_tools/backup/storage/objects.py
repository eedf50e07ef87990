"""A repository in a bucket that speaks S3: what is written appears whole, or not at all, by one conditional write.

Small files are objects under their names. A folder `backups/x` that is committed lies in `backups/_x.<number>/`, with a number that
nobody else has. It is there once `backups/_x`, its record, says so, and what is in it the record says: whatever a dead or a slow
process still writes never comes into a folder that is there. Names that begin with `_` are ours alone and are told to nobody.
"""

import errno
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import BinaryIO, cast

from ostiary_tools.backup import strict_json
from ostiary_tools.backup.storage import lease
from ostiary_tools.backup.storage.bucket import Bucket, Changed
from ostiary_tools.backup.storage.names import is_name, steps
from ostiary_tools.backup.storage.parts import PART_BYTES, Got, Sent, part_name
from ostiary_tools.errors import Damaged, NotWritten, ToolError

_FORMAT = 1
_AT_ONCE = 16
"""Requests for small things that wait for a store at the same time; more gain little and are refused by some."""
_LONGEST = 64 << 20
"""Bytes of a record; one of a backup of 10 TB has 10 million."""
_SMALL = 1 << 30
"""Bytes of a file that has no record, as in a folder."""
_STAGED = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*/)*_[A-Za-z0-9][A-Za-z0-9._-]*\.[0-9a-f]{16}", re.ASCII)
"""Where the files of one folder lie, committed or not."""


@dataclass(frozen=True, slots=True)
class Record:
    """That a folder is there."""

    folder: str
    """Where its files lie."""
    files: Mapping[str, Sequence[int]]
    """The sizes of their parts."""


@dataclass(frozen=True, slots=True)
class Objects:
    """Storage in a bucket, or a part of it, which is ours alone."""

    bucket: Bucket
    carried: bool = False
    """Then it is read and never written."""
    _records: dict[str, Record] = field(default_factory=dict, repr=False, compare=False)
    """Seen before: one says the same as long as its number is there."""
    _plain: set[str] = field(default_factory=set, repr=False, compare=False)
    """Folders that were seen to hold objects under their names, so that no record of them is asked for first."""

    @property
    def at_once(self) -> int:
        """Each request is waited for."""
        return _AT_ONCE

    def names(self, under: str) -> Sequence[str]:
        """All files and folders right below, sorted; none where there is no such folder."""
        objects, folders = self.bucket.below("/".join(steps(under)))
        shown = {name.removeprefix("_") for name in objects} | {name for name in folders if not name.startswith("_")}
        if shown or not under:
            self._plain.add(under)
            return sorted(shown)
        self._records.pop(under, None)
        record = self._record(under)
        return sorted(record.files) if record else []

    def read(self, name: str) -> bytes:
        """A small file whole."""
        with self.open(name) as file:
            return file.read()

    def open(self, name: str) -> BinaryIO:
        """A file of a folder that was committed, or one that was written."""
        *above, last = steps(name)
        folder = "/".join(above)
        try:
            return self._opened(folder, last)
        except FileNotFoundError:
            if self._records.pop(folder, None) is None and folder not in self._plain:
                raise
            self._plain.discard(folder)
            return self._opened(folder, last)  # it may have been made anew since its record was seen

    def _opened(self, folder: str, name: str) -> BinaryIO:
        sizes: Sequence[int] = ()
        record = self._record(folder) if folder and folder not in self._plain else None
        if record is None:
            keys = [f"{folder}/{name}".lstrip("/")]
        elif name not in record.files:
            raise FileNotFoundError(name)
        else:
            sizes = record.files[name]
            parts = [name] if len(sizes) == 1 else [part_name(name, number) for number in range(len(sizes))]
            keys = [f"{record.folder}/{part}" for part in parts]
        first = self.bucket.get(keys[0], sizes[0] if sizes else _SMALL)
        if not sizes and first.size > _SMALL:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        return cast("BinaryIO", Got(self.bucket, list(zip(keys, sizes or [first.size], strict=True)), first.data))

    def write(self, name: str, data: bytes, *, new: bool = True) -> None:
        """One object."""
        self._check_ours()
        key = "/".join(steps(name))
        try:
            self.bucket.create(key, data) if new else self.bucket.put(key, data)
        except Changed:
            raise FileExistsError(name) from None

    def stage(self, name: str, work: str) -> "StagedObjects":
        """Begin a folder. What a killed process left of the same work goes first. Raises LockedOut while another is at it."""
        self._check_ours()
        *above, last = steps(name)
        [work] = steps(work)
        folder = "/".join((*above, f"_{last}.{secrets.token_hex(8)}"))
        held, left = lease.taken(self.bucket, work, folder)
        try:
            self._discard(left, held)
            if left:
                held.name(folder)
        except BaseException:
            held.leave()
            raise
        return StagedObjects(self, "/".join((*above, f"_{last}")), folder, held)

    def remove(self, name: str) -> None:
        """Its record goes first, or what bears its name."""
        self._check_ours()
        *above, last = steps(name)
        self._records.pop(name, None)
        try:
            record = self._record(name)
            folders = [record.folder, name] if record else [name]
        except Damaged:  # then of all that may be its own
            _, found = self.bucket.below("/".join(above))
            folders = ["/".join((*above, one)) for one in found if one.startswith(f"_{last}.")]
        self._records.pop(name, None)
        with lease.marked(self.bucket, *filter(_STAGED.fullmatch, folders)):
            self.bucket.delete("/".join((*above, f"_{last}")), name)
            for folder in folders:
                self.bucket.empty(folder)

    def sweep(self) -> int:
        """Take away what nobody holds. Raises Refused where the store cannot be relied on for who holds what."""
        self._check_ours()
        self.bucket.check_conditions("_clock/condition")
        swept = 0
        for held, left in lease.stale(self.bucket):
            with held:
                self._discard(left, held)
            swept += 1
        return swept

    def _discard(self, folders: Sequence[str], held: lease.Lease) -> None:
        """What lies there, unless it was committed, or is being made. Whoever writes a lease has nothing else taken away."""
        if not folders:
            return
        others = held.of_others()
        for folder in folders:
            if _STAGED.fullmatch(folder) and folder not in others and not self._committed(folder):
                self.bucket.empty(folder)

    def _committed(self, folder: str) -> bool:
        above, _, last = folder.rpartition("/")
        name = f"{above}/{last[1:].rpartition('.')[0]}".lstrip("/")
        self._records.pop(name, None)
        record = self._record(name)
        return record is not None and record.folder == folder

    def _record(self, folder: str) -> Record | None:
        """What says that the folder was committed. Raises Damaged."""
        if folder not in self._records:
            above, _, last = folder.rpartition("/")
            key = f"{above}/_{last}".lstrip("/")
            with suppress(FileNotFoundError):
                found = strict_json.decode(key, bytes(self.bucket.get(key, _LONGEST).data), Record, _FORMAT)
                ours = _STAGED.fullmatch(found.folder) and found.folder.rpartition(".")[0] == key
                if not (ours and all(map(is_name, found.files)) and all(map(_sizes_of_parts, found.files.values()))):
                    raise strict_json.none_of_ours(key)
                self._records[folder] = found
        return self._records.get(folder)

    def _check_ours(self) -> None:
        if self.carried:
            raise NotWritten("a repository that was carried here is only read", "work with it where it was initialised")


def _sizes_of_parts(sizes: Sequence[int]) -> bool:
    """Whether a file can have such parts: all but the last are full."""
    return bool(sizes) and all(size == PART_BYTES for size in sizes[:-1]) and 0 <= sizes[-1] <= PART_BYTES


class StagedObjects:
    """A folder in the making; its lease is held from the beginning until `close`."""

    def __init__(self, home: Objects, record: str, folder: str, held: lease.Lease) -> None:
        self._home = home
        self._record = record
        self._folder = folder
        self._held: lease.Lease | None = held
        self._files: dict[str, Sequence[int]] = {}
        self._committed = False

    def create(self, name: str) -> BinaryIO:
        """A new file, which is in the store when it is closed."""
        [name] = steps(name)
        return cast(
            "BinaryIO", Sent(self._home.bucket, (self._folder, name), self._held_now, partial(self._files.__setitem__, name))
        )

    def commit(self) -> None:
        """While the lease is held, for nobody takes away what is staged then."""
        self._held_now()
        try:
            record = strict_json.encode(Record(self._folder, self._files), _FORMAT)
            self._home.bucket.create(self._record, record)
        except Changed:
            raise FileExistsError(self._record) from None
        self._committed = True

    def _held_now(self) -> None:
        if self._held is None:
            raise ValueError("it was closed")
        self._held.held()

    def close(self) -> None:
        """Leave nothing of what was not committed. What cannot be taken away now is swept later."""
        held, self._held = self._held, None
        if held is None:
            return
        with suppress(ToolError), held:
            if not self._committed:
                self._home.bucket.empty(self._folder)
