"""A file as objects of bounded size: its parts. None of them is anything before the record of its folder names it.

A store's own upload in parts leaves, when its process dies, what no listing shows and somebody pays for; parts that are objects are
found and taken away like others. One request is bounded by its way there and back, so some are on their way at once: of a file that
is written `AT_ONCE` at most beside the one that fills, of one that is read `AHEAD` and the next beside the last: 80 and 64 MiB
of bytes, of which those that come take up to twice as much on their way through the library.
"""

import io
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from ostiary_tools.backup.storage.bucket import Bucket, Data

PART_BYTES = 16 << 20
AT_ONCE = 4
AHEAD = 2
_OTHER = "it is not as long as it was"


class Sent(io.RawIOBase):
    """A file to write. Before each part `check` raises where it is not to come there; `told` takes the sizes of all at the end.

    When it is closed nothing of it is on its way any more, also where it has failed.
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
        self._part = bytearray()
        self._length = 0
        self._sizes: list[int] = []
        self._sending: dict[Future[str], bytearray] = {}
        self._free: list[bytearray] = []
        """What held parts that have arrived: new memory costs more than all that is done with it here."""
        self._pool: ThreadPoolExecutor | None = None

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any, /) -> int:
        """Takes all. Raises Unavailable."""
        left = memoryview(data)
        while left:
            if self._length == PART_BYTES:
                self._send(alone=False)
            if not self._part:
                self._part = self._free.pop() if self._free else bytearray(PART_BYTES)
            piece = left[: PART_BYTES - self._length]
            self._part[self._length : self._length + len(piece)] = piece
            self._length += len(piece)
            left = left[len(piece) :]
        return len(data)

    def close(self) -> None:
        """Once the last part is there. Raises Unavailable."""
        if self.closed:
            return
        super().close()
        try:
            if not self._failed:
                self._send(alone=not self._sizes)
                self._await(0)
                self._told(self._sizes)
        finally:
            if self._pool is not None:
                self._pool.shutdown(cancel_futures=True)

    def _send(self, *, alone: bool) -> None:
        key = f"{self._folder}/{self._name if alone else part_name(self._name, len(self._sizes))}"
        part = memoryview(self._part)[: self._length]
        self._failed = True
        self._check()
        if alone:
            self._bucket.create(key, part)
        else:
            self._await(AT_ONCE - 1)
            self._pool = self._pool or ThreadPoolExecutor(AT_ONCE, "backup-part")
            self._sending[self._pool.submit(self._bucket.create, key, part)] = self._part
        self._failed = False
        self._sizes.append(self._length)
        self._part, self._length = bytearray(), 0

    def _await(self, most: int) -> None:
        """Until no more than so many parts are on their way. Raises what became of one that did not arrive."""
        self._failed = True
        while len(self._sending) > most:
            for one in wait(self._sending, return_when=FIRST_COMPLETED).done:
                part = self._sending.pop(one)
                one.result()
                self._free.append(part)
        self._failed = False


class Got(io.RawIOBase):
    """A file to read; `keys` of its parts with their sizes, and the bytes of the first, which was looked for already.

    Who reads on into another part is about to read those after it.
    """

    def __init__(self, bucket: Bucket, keys: Sequence[tuple[str, int]], first: Data) -> None:
        super().__init__()
        self._bucket = bucket
        self._keys = keys
        self._at = 0
        self._part: tuple[int, int, Data] = (0, len(first), first)
        """From where to where of the file it is, and its bytes."""
        self._coming: deque[tuple[int, Future[Data]]] = deque()
        """Parts that are asked for already, by number and in order."""
        self._pool: ThreadPoolExecutor | None = None
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
        piece = self._piece(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def read(self, size: int = -1, /) -> bytes:
        """Likewise, without a copy in between; all where no size is given."""
        return bytes(self._piece(size)) if size >= 0 else self.readall()

    def _piece(self, size: int) -> memoryview:
        start, end, data = self._part
        if not start <= self._at < end:
            start, end, data = self._part = self._next()
        piece = memoryview(data)[self._at - start : self._at - start + size]
        self._at += len(piece)
        return piece

    def close(self) -> None:
        """What was asked for and not read is given up."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        self._coming.clear()
        super().close()

    def _next(self) -> tuple[int, int, Data]:
        start = 0
        for number, (_, size) in enumerate(self._keys):
            if self._at < start + size:
                return start, start + size, self._gotten(number)
            start += size
        return self._at, self._at, b""

    def _gotten(self, number: int) -> Data:
        """A part, while those after it come."""
        while self._coming and self._coming[0][0] != number:
            self._coming.popleft()[1].cancel()
        for later in range(number + len(self._coming), min(number + 1 + AHEAD, len(self._keys))):
            self._pool = self._pool or ThreadPoolExecutor(1 + AHEAD, "backup-part")
            self._coming.append((later, self._pool.submit(self._asked, *self._keys[later])))
        return self._coming.popleft()[1].result()

    def _asked(self, key: str, size: int) -> Data:
        data = self._bucket.get(key, size).data
        if len(data) != size:
            raise OSError(_OTHER)
        return data


def part_name(name: str, number: int) -> str:
    """Of a file that has several: in their order when they are sorted."""
    return f"_{number + 1:07}.{name}"
