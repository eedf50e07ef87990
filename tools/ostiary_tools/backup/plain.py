"""What is stored, back into what was put: hashed, decrypted, decompressed, and each sum compared with what was stated.

The way of `streams` from its other end; flat in memory. Blocking, for threads.
"""

import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BufferedReader, RawIOBase
from typing import Any, BinaryIO, cast

from ostiary_tools.backup import cipher
from ostiary_tools.backup.encryption import closed, encryption
from ostiary_tools.backup.keys import Identity
from ostiary_tools.backup.manifest import Member
from ostiary_tools.backup.port import chunks
from ostiary_tools.backup.streams import PIECE, WINDOW, Counted, write_all, zstd
from ostiary_tools.errors import Damaged, ToolError, Unavailable


@contextmanager
def opened(member: Member, stored: BinaryIO, identities: Sequence[Identity]) -> Iterator[BinaryIO]:
    """The member's plain bytes. A read raises Damaged or Unavailable; the last one after all was compared. Closes `stored`."""
    with stored, encryption("decrypt", [identity.text for identity in identities]) as program:
        feeding = _Feeding(stored, program)
        try:
            feeding.start()
            plain = _Plain(member, feeding, program)
            yield cast("BinaryIO", BufferedReader(plain, PIECE))
        finally:
            program.kill()
            feeding.join()


class _Feeding(threading.Thread):
    """Gives the program what is stored, and sums it."""

    def __init__(self, stored: BinaryIO, program: "subprocess.Popen[bytes]") -> None:
        super().__init__(name="backup-source")
        self._stored = stored
        self._program = program
        self.counted = Counted()
        self.failed = False
        self.failure: ToolError | None = None
        """Why a store gives no more of it: that is no damage."""

    def run(self) -> None:
        sink = cast("BinaryIO", self._program.stdin)
        try:
            for piece in chunks(self._stored, PIECE):
                self.counted.add(piece)
                write_all(sink, piece)
        except OSError:  # of either side; if the program is gone, it says why
            self.failed = True
        except ToolError as error:
            self.failure = error
        finally:
            closed(sink)


class _Plain(RawIOBase):
    """Decompresses what the program decrypts, and compares at the end."""

    def __init__(self, member: Member, feeding: _Feeding, program: "subprocess.Popen[bytes]") -> None:
        self._member = member
        self._feeding = feeding
        self._program = program
        decompressor = zstd().ZstdDecompressor(max_window_size=WINDOW)
        self._reader = decompressor.stream_reader(cast("BinaryIO", program.stdout), read_size=PIECE)
        self._counted = Counted()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            size = int(self._reader.readinto(buffer))
        except zstd().ZstdError:
            raise self._damaged("it cannot be decompressed") from None
        self._counted.add(memoryview(buffer)[:size])  # type: ignore[arg-type] # anything of bytes
        if self._counted.bytes > self._member.plain_bytes:
            raise self._damaged("it holds more than was put into it")
        if size == 0:
            self._compare()
        return size

    def _compare(self) -> None:
        self._say_why()
        if (self._counted.bytes, self._counted.sha256) != (self._member.plain_bytes, self._member.plain_sha256):
            raise self._damaged("its content is not what was put into it")

    def _say_why(self) -> None:
        """Raises what stood against decrypting it."""
        code = self._program.wait()
        self._feeding.join()
        if self._feeding.failure is not None:
            raise self._feeding.failure
        if code == cipher.DAMAGED:
            raise self._damaged("it cannot be decrypted to its end")
        if code != 0:
            raise Unavailable("the decryption of a backup ended with an error", "run it again; see that this machine has memory")
        if self._feeding.failed:
            raise self._damaged("it cannot be read")
        found = self._feeding.counted
        if (found.bytes, found.sha256) != (self._member.stored_bytes, self._member.stored_sha256):
            raise self._damaged("it is not the file that was stored")

    def _damaged(self, why: str) -> Damaged:
        return Damaged(self._member.name, f"`{self._member.name}` is damaged: {why}", "use another backup")
