"""Files that were compared as a whole, and are read again piece by piece: what was exchanged since then is not given to anybody.

Whoever can write into a repository can encrypt to its keys, which are public, and choose the moment. Blocking.
"""

import hashlib
import io
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO

_PIECE = 1 << 20


def summed(stream: BinaryIO, told: Callable[[int], None]) -> tuple[str, Sequence[bytes]]:
    """The SHA-256 of all of it, and that of each piece; `told` takes how many bytes more were read, and may raise."""
    whole, pieces = hashlib.sha256(), []
    while piece := _next(stream):
        whole.update(piece)
        pieces.append(hashlib.sha256(piece).digest())
        told(len(piece))
    return whole.hexdigest(), tuple(pieces)


class Same(io.RawIOBase):
    """What gives a file's bytes as long as they are what was summed. Closes the file."""

    def __init__(self, file: BinaryIO, sums: Sequence[bytes]) -> None:
        super().__init__()
        self._file = file
        self._sums = iter(sums)
        self._rest = b""

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """As much as comes next. Raises OSError before the first byte of a piece that is another one."""
        if not self._rest:
            piece = _next(self._file)
            if hashlib.sha256(piece).digest() != next(self._sums, _END):
                raise OSError("it is not what was compared")
            self._rest = piece
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count

    def close(self) -> None:
        """The file, too."""
        self._file.close()
        super().close()


_END = hashlib.sha256(b"").digest()


def _next(stream: BinaryIO) -> bytes:
    """A whole piece, unless the stream ends."""
    piece = b""
    while len(piece) < _PIECE and (more := stream.read(_PIECE - len(piece))):
        piece += more
    return piece
