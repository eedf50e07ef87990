"""A file as objects of bounded size: its parts. None of them is anything before the record of its folder names it.

A store's own upload in parts leaves, when its process dies, what no listing shows and somebody pays for; parts that are objects are
found and taken away like others.
"""

import io
from collections.abc import Callable, Sequence
from typing import Any

from ostiary_tools.backup.storage.bucket import Bucket

PART_BYTES = 16 << 20
_OTHER = "it is not as long as it was"


class Sent(io.RawIOBase):
    """A file to write: each part is in the store before the next begins, and `check` raises where it is not to come there.

    `told` takes the sizes of all when it is closed.
    """

    def __init__(
        self, bucket: Bucket, where: tuple[str, str], check: Callable[[], None], told: Callable[[Sequence[int]], None]
    ) -> None:
        super().__init__()
        self._bucket = bucket
        self._folder, self._name = where
        self._check = check
        self._told = told
        self._failed = False
        self._rest = bytearray()
        self._sizes: list[int] = []

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any, /) -> int:
        """Takes all. Raises Unavailable."""
        self._rest += data
        while len(self._rest) > PART_BYTES:
            self._send(bytes(memoryview(self._rest)[:PART_BYTES]), alone=False)
            del self._rest[:PART_BYTES]
        return len(data)

    def close(self) -> None:
        """Once the last part is there. Raises Unavailable."""
        if self.closed:
            return
        super().close()
        if not self._failed:
            self._send(bytes(self._rest), alone=not self._sizes)
            self._told(self._sizes)
        self._rest.clear()

    def _send(self, part: bytes, *, alone: bool) -> None:
        name = self._name if alone else part_name(self._name, len(self._sizes))
        self._failed = True
        self._check()
        self._bucket.create(f"{self._folder}/{name}", part)
        self._failed = False
        self._sizes.append(len(part))


class Got(io.RawIOBase):
    """A file to read, one part at a time; `keys` with their sizes, and the bytes of the first, which was looked for already."""

    def __init__(self, bucket: Bucket, keys: Sequence[tuple[str, int]], first: bytes) -> None:
        super().__init__()
        self._bucket = bucket
        self._keys = keys
        self._at = 0
        self._part = (0, len(first), first)
        """From where to where of the file it is, and its bytes."""
        if keys and len(first) != keys[0][1]:
            raise OSError(_OTHER)

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """To a place in it; nothing is asked of the store."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: sum(size for _, size in self._keys)}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        """As much as comes next of one part. Raises OSError where it is not as long as it was, and Unavailable."""
        start, end, data = self._part
        if not start <= self._at < end:
            start, end, data = self._part = self._next()
        piece = data[self._at - start : self._at - start + len(buffer)]
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def _next(self) -> tuple[int, int, bytes]:
        start = 0
        for key, size in self._keys:
            if self._at < start + size:
                data = self._bucket.get(key).data
                if len(data) != size:
                    raise OSError(_OTHER)
                return start, start + size, data
            start += size
        return self._at, self._at, b""


def part_name(name: str, number: int) -> str:
    """Of a file that has several: in their order when they are sorted."""
    return f"_{number + 1:07}.{name}"
