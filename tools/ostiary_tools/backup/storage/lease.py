"""Who is at one work, told by an object that its holder renews: there is no kernel between machines that would free a lock.

How old a lease is the store's own clock says, of both its times; nobody's clock here is asked. A holder that was away for too long
has lost it, and finds out before it commits. What a lease names as its folders is taken away by who takes it over.
"""

import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from ostiary_tools.backup import strict_json
from ostiary_tools.backup.storage.bucket import Bucket, Changed, Found
from ostiary_tools.errors import Damaged, LockedOut, ToolError

LEASES = "_leases"
_CLOCK = "_clock/now"
_FORMAT = 1
_LONGEST = 1 << 16
"""Bytes of a lease; it names one folder or two."""
HELD_S = 60.0
"""Without a word for so long its holder counts as dead."""
_RENEWED_S = 15.0
_LOST = LockedOut("the object store was away for too long, and another process may be at this by now", "run it again")


@dataclass(frozen=True, slots=True)
class _Said:
    """What a lease says."""

    holder: str
    folders: tuple[str, ...]
    """That are to be taken away unless they were committed."""


class Lease:
    """Held while the block lasts; where that fails, it is left as it is.

    The private fields hold one invariant: `_etag` is of what we wrote last, at `_since` or later.
    """

    def __init__(self, bucket: Bucket, key: str, said: _Said, etag: str, since: float) -> None:
        self._bucket = bucket
        self._key = key
        self._said = said
        self._etag = etag
        self._since = since
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._lost = False
        self._renewing = threading.Thread(target=self._renew_on, name="backup-lease", daemon=True)
        self._renewing.start()

    def held(self) -> None:
        """Ours now, and for some time to come. Raises LockedOut where it is not, and Unavailable."""
        with self._lock:
            if not self._lost and time.monotonic() - self._since > _RENEWED_S:
                self._renew()
            if self._lost:
                raise _LOST

    def name(self, *folders: str) -> None:
        """These are its folders from now on, and no others. Raises LockedOut where it is lost, and Unavailable."""
        with self._lock:
            self._said = _Said(self._said.holder, folders)
            self._renew()
            if self._lost:
                raise _LOST

    def of_others(self) -> set[str]:
        """Folders that leases of others name who live. Raises Unavailable."""
        names, _ = self._bucket.below(LEASES)
        present, found = now(self._bucket), set[str]()
        for key in (f"{LEASES}/{name}" for name in names):
            with suppress(FileNotFoundError):
                one = self._bucket.get(key, _LONGEST)
                if key != self._key and _lives(one, present):
                    found |= {*_left(key, bytes(one.data))}
        return found

    def leave(self) -> None:
        """Renew it no more: what it names is for whoever finds it when it is old."""
        self._done.set()
        self._renewing.join()

    def __enter__(self) -> None:
        pass

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        self.leave()
        if failed is None:
            with suppress(LockedOut):  # of one that was lost nothing is touched
                self.held()
                self._bucket.delete(self._key)

    def _renew(self) -> None:
        since = time.monotonic()
        try:
            self._etag = self._bucket.replace(self._key, _encoded(self._said), self._etag)
            self._since = since
        except Changed:
            self._lost = True

    def _renew_on(self) -> None:
        while not self._done.wait(_RENEWED_S) and not self._lost:
            with self._lock, suppress(ToolError):  # it is tried again, and before a commit it must succeed
                self._renew()


def taken(bucket: Bucket, work: str, *folders: str) -> tuple[Lease, Sequence[str]]:
    """The lease of a work, with the folders of whoever held it and is dead. Raises LockedOut while he lives, and Unavailable."""
    key, since = f"{LEASES}/{work}", time.monotonic()
    with suppress(Changed):
        said = _Said(secrets.token_hex(8), folders)
        return Lease(bucket, key, said, bucket.create(key, _encoded(said)), since), ()
    lease = _overtaken(bucket, key, now(bucket), folders)
    if lease is None:
        raise LockedOut("another process is making this", "wait for it, or cancel it")
    return lease


def marked(bucket: Bucket, *folders: str) -> Lease:
    """A lease of a work that nobody else has, so that others find the folders if we die. Raises Unavailable."""
    return taken(bucket, f"gone-{secrets.token_hex(8)}", *folders)[0]


def stale(bucket: Bucket) -> Iterator[tuple[Lease, Sequence[str]]]:
    """Leases of the dead, each now held by us, with the folders they leave. Raises Unavailable."""
    names, _ = bucket.below(LEASES)
    if not names:
        return
    present = now(bucket)
    for name in names:
        found = _overtaken(bucket, f"{LEASES}/{name}", present, ())
        if found is not None:
            yield found


def now(bucket: Bucket) -> datetime:
    """By the store's clock."""
    bucket.put(_CLOCK, b"")
    return bucket.get(_CLOCK, 0).modified


def _overtaken(bucket: Bucket, key: str, present: datetime, folders: Sequence[str]) -> tuple[Lease, Sequence[str]] | None:
    since = time.monotonic()
    try:
        found = bucket.get(key, _LONGEST)
        if _lives(found, present):
            return None
        left = _left(key, bytes(found.data))
        said = _Said(secrets.token_hex(8), (*left, *folders))
        return Lease(bucket, key, said, bucket.replace(key, _encoded(said), found.etag), since), left
    except (FileNotFoundError, Changed):  # whoever was as quick as we has it
        return None


def _lives(found: Found, present: datetime) -> bool:
    return (present - found.modified).total_seconds() <= HELD_S


def _left(key: str, data: bytes) -> tuple[str, ...]:
    try:
        return strict_json.decode(key, data, _Said, _FORMAT).folders
    except Damaged:  # what somebody else wrote there is in nobody's way
        return ()


def _encoded(said: _Said) -> bytes:
    return strict_json.encode(said, _FORMAT)
