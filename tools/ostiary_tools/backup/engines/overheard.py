"""A tar as it passes, of which one file is written down besides: nobody reads the tar twice for it."""

import io
import tarfile
from typing import Any, BinaryIO

from ostiary_tools.errors import ProgramFailed


class Overheard(io.RawIOBase):
    """The source, whose end it is to be read to. Closes it; the sink stays open."""

    def __init__(self, source: BinaryIO, name: str, sink: BinaryIO) -> None:
        super().__init__()
        self._source = source
        self._name = name
        self._sink = sink
        self._head = b""
        """As far as one has come."""
        self._wanted = 0
        """Bytes of the file that are to come."""
        self._left = 0
        """Bytes of any file and what fills its last block."""

    def readable(self) -> bool:
        """It is."""
        return True

    def read(self, size: int = -1, /) -> bytes:
        """As much as is asked for, less only at the end. Raises ProgramFailed where it is no tar."""
        piece = self._source.read(size)
        rest = memoryview(piece)
        while rest:
            rest = rest[self._content(rest) if self._left else self._header(rest) :]
        return piece

    def readinto(self, buffer: Any, /) -> int:
        """As much as comes next."""
        piece = self.read(len(buffer))
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        """The source, too."""
        self._source.close()
        super().close()

    def _content(self, rest: memoryview) -> int:
        count = min(len(rest), self._left)
        if wanted := min(count, self._wanted):
            self._sink.write(rest[:wanted])
            self._wanted -= wanted
        self._left -= count
        return count

    def _header(self, rest: memoryview) -> int:
        count = min(len(rest), tarfile.BLOCKSIZE - len(self._head))
        self._head += rest[:count]
        if len(self._head) == tarfile.BLOCKSIZE:
            head, self._head = self._head, b""
            if any(head):  # a tar ends with zeros
                self._begin(head)
        return count

    def _begin(self, head: bytes) -> None:
        try:
            entry = tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
        except tarfile.HeaderError:
            raise ProgramFailed("`pg_basebackup` sent something that is no tar") from None
        if entry.size < 0:
            raise ProgramFailed("`pg_basebackup` sent something that is no tar")
        self._left = -(-entry.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
        self._wanted = entry.size if entry.name == self._name else 0
