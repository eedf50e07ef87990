"""Bytes on their way into a repository: hashed, compressed, encrypted, hashed; flat in memory. Blocking, for threads.

Source → sha256 → zstd → age → sha256 → sink; the way back is `plain`. The encryption is a program of its own (see `encryption`)
between two threads, so that hashing, compressing and encrypting go on at once.
"""

import hashlib
import os
import select
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedReader, FileIO
from queue import Full, Queue
from types import ModuleType
from typing import BinaryIO, cast

from ostiary_tools.backup.encryption import closed, encryption, widen
from ostiary_tools.backup.port import chunks
from ostiary_tools.errors import NotWritten, Unavailable

LEVEL = 3
ROOM = "see that there is room in the folder of backups, then run it again"
PIECE = 256 << 10
"""Bytes that go from stage to stage at once: few enough to stay in a processor's cache."""
_AHEAD = 8
"""Pieces that wait to be compressed."""
_LOOK_S = 1.0
"""How often who waits for another thread looks whether it lives."""
WINDOW = 8 << 20
"""Bytes that a member may make us hold while it is decompressed; level 3 needs 2 MiB."""


@dataclass(frozen=True, slots=True)
class Sums:
    """What went in, and what came of it."""

    plain_bytes: int
    plain_sha256: str
    stored_bytes: int
    stored_sha256: str


class Stopped(Exception):
    """The work was called off."""


class Stop:
    """Calls work off that waits for a source. The private fields hold one invariant: both ends are open until `close`."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()

    def set(self) -> None:
        """From any thread."""
        os.write(self._write, b"x")

    def wait_for(self, descriptor: int | None) -> None:
        """Until there is something to read, or the end; without a descriptor only look. Raises Stopped."""
        poll = select.poll()
        poll.register(self._read, select.POLLIN)
        if descriptor is not None:
            poll.register(descriptor, select.POLLIN)
        if any(ready == self._read for ready, _ in poll.poll(None if descriptor is not None else 0)):
            raise Stopped

    def close(self) -> None:
        """Once nobody waits any more."""
        os.close(self._read)
        os.close(self._write)


class Counted:
    """Bytes that pass, their number and their sum."""

    def __init__(self) -> None:
        self.bytes = 0
        self._digest = hashlib.sha256()

    def add(self, piece: bytes) -> None:
        """Those that come next."""
        self._digest.update(piece)
        self.bytes += len(piece)

    @property
    def sha256(self) -> str:
        """Of all so far."""
        return self._digest.hexdigest()


def seal(source: BinaryIO, sink: BinaryIO, recipients: Sequence[str], told: Callable[[int], None], stop: Stop) -> Sums:
    """Read the source to its end. Closes neither. Raises Stopped, NotWritten where the sink takes no more, and Unavailable."""
    plain = Counted()
    with encryption("encrypt", recipients) as program:
        compressing, storing = _Compressing(program), _Storing(sink, program)
        storing.start()
        compressing.start()
        try:
            for piece in _pieces(source, stop):
                compressing.take(piece)
                plain.add(piece)
                told(len(piece))
            compressing.take(b"")
        except EOFError:
            pass  # it is said below
        except BaseException:
            program.kill()  # else it would take the end of its input for the end of the data
            raise
        finally:
            compressing.end()
            storing.join()
        storing.say_why()
        if not compressing.done or program.wait() != 0:
            raise Unavailable("the encryption of a backup ended with an error", "run it again; see that this machine has memory")
    return Sums(plain.bytes, plain.sha256, storing.counted.bytes, storing.counted.sha256)


def _pieces(source: BinaryIO, stop: Stop) -> Iterator[bytes]:
    """What comes, as it comes. A source with a descriptor is waited for in a way that can be called off."""
    raw = source.raw if isinstance(source, BufferedReader) else source
    waited = raw.fileno() if isinstance(raw, FileIO) else None
    if waited is not None:
        widen(waited)
    while True:
        stop.wait_for(waited)
        try:
            piece = raw.read(PIECE) if waited is not None else source.read(PIECE)
        except OSError as error:
            raise Unavailable(f"what is backed up could not be read: {words(error)}", "run it again") from None
        if not piece:
            return
        yield piece


class _Compressing(threading.Thread):
    """Compresses pieces for the program, one beside the next being read and summed."""

    def __init__(self, program: "subprocess.Popen[bytes]") -> None:
        super().__init__(name="backup-zstd")
        self._sink = cast("BinaryIO", program.stdin)
        # Its checksum is for who restores with `zstd` alone.
        self._compressor = zstd().ZstdCompressor(level=LEVEL, write_checksum=True).compressobj()
        self._pieces: Queue[bytes | None] = Queue(_AHEAD)
        self.done = False
        """Whether all was compressed, and the program took it."""

    def take(self, piece: bytes) -> None:
        """Another one, or an empty one at the end. Raises EOFError where it has ended, so that no more is read in vain."""
        while self.is_alive():
            with suppress(Full):
                self._pieces.put(piece, timeout=_LOOK_S)
                return
        raise EOFError

    def end(self) -> None:
        """No more come, whether or not all have come."""
        while self.is_alive():
            with suppress(Full):
                self._pieces.put(None, timeout=_LOOK_S)
                break
        self.join()

    def run(self) -> None:
        """Until the end, or until the program is gone: why, it says itself."""
        try:
            while piece := self._pieces.get():
                write_all(self._sink, self._compressor.compress(piece))
            if piece is not None:
                write_all(self._sink, self._compressor.flush())
                self.done = True
        except (OSError, MemoryError):
            pass
        finally:
            closed(self._sink)


class _Storing(threading.Thread):
    """Takes what the program encrypts, sums it and stores it."""

    def __init__(self, sink: BinaryIO, program: "subprocess.Popen[bytes]") -> None:
        super().__init__(name="backup-sink")
        self._sink = sink
        self._program = program
        self._failure: BaseException | None = None
        self.counted = Counted()

    def run(self) -> None:
        """Until there is no more."""
        try:
            for piece in chunks(cast("BinaryIO", self._program.stdout), PIECE):
                self.counted.add(piece)
                write_all(self._sink, piece)
        except BaseException as error:  # noqa: BLE001 -- who waits for this thread raises it
            self._failure = error
            self._program.kill()

    def say_why(self) -> None:
        """Raises what stood against storing it."""
        if isinstance(self._failure, OSError):
            raise NotWritten(f"the backup could not be written: {words(self._failure)}", ROOM)
        if self._failure is not None:
            raise self._failure


def zstd() -> ModuleType:
    """The module, which comes with an extra. Raises Unavailable."""
    try:
        import zstandard  # an extra
    except ImportError:
        raise Unavailable("backups are not installed", "install `ostiary[backup]`") from None
    return zstandard


def words(error: BaseException) -> str:
    """What the system says, without a path."""
    return (getattr(error, "strerror", None) or type(error).__name__).lower()


def write_all(sink: BinaryIO, data: bytes) -> None:
    """A raw file may take less at once."""
    left = memoryview(data)
    while left:
        left = left[sink.write(left) :]
