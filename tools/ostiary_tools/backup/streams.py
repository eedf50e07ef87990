"""Bytes on their way into a repository and back: hashed, compressed, encrypted, hashed; flat in memory. Blocking, for threads.

In: source → sha256 → zstd → age → sha256 → sink. Back: the same from the other end, and each sum compared with what was stated. The
encryption is a program of its own (see `cipher`) between two threads, so that hashing, compressing and encrypting go on at once.
"""

import fcntl
import hashlib
import os
import select
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BufferedReader, FileIO, RawIOBase
from pathlib import Path
from queue import Full, Queue
from types import ModuleType
from typing import IO, Any, BinaryIO, cast

from ostiary_tools.backup import cipher
from ostiary_tools.backup.keys import Identity
from ostiary_tools.backup.manifest import Member
from ostiary_tools.backup.port import chunks
from ostiary_tools.errors import Damaged, NotWritten, ToolError, Unavailable

LEVEL = 3
ROOM = "see that there is room in the folder of backups, then run it again"
_PIECE = 256 << 10
"""Bytes that go from stage to stage at once: few enough to stay in a processor's cache."""
_PIPE = 1 << 20
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


class _Counted:
    """Bytes that pass, their number and their sum."""

    def __init__(self) -> None:
        self.bytes = 0
        self._digest = hashlib.sha256()

    def add(self, piece: bytes) -> None:
        self._digest.update(piece)
        self.bytes += len(piece)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


def seal(source: BinaryIO, sink: BinaryIO, recipients: Sequence[str], told: Callable[[int], None], stop: Stop) -> Sums:
    """Read the source to its end. Closes neither. Raises Stopped, NotWritten where the sink takes no more, and Unavailable."""
    plain = _Counted()
    with _program("encrypt", recipients) as program:
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


@contextmanager
def opened(member: Member, stored: BinaryIO, identities: Sequence[Identity]) -> Iterator[BinaryIO]:
    """The member's plain bytes. A read raises Damaged or Unavailable; the last one after all was compared. Closes `stored`."""
    with stored, _program("decrypt", [identity.text for identity in identities]) as program:
        feeding = _Feeding(stored, program)
        try:
            feeding.start()
            plain = _Plain(member, feeding, program)
            yield cast("BinaryIO", BufferedReader(plain, _PIECE))
        finally:
            program.kill()
            feeding.join()


def _pieces(source: BinaryIO, stop: Stop) -> Iterator[bytes]:
    """What comes, as it comes. A source with a descriptor is waited for in a way that can be called off."""
    raw = source.raw if isinstance(source, BufferedReader) else source
    waited = raw.fileno() if isinstance(raw, FileIO) else None
    if waited is not None:
        _widen(waited)
    while True:
        stop.wait_for(waited)
        try:
            piece = raw.read(_PIECE) if waited is not None else source.read(_PIECE)
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
            _close(self._sink)


class _Storing(threading.Thread):
    """Takes what the program encrypts, sums it and stores it."""

    def __init__(self, sink: BinaryIO, program: "subprocess.Popen[bytes]") -> None:
        super().__init__(name="backup-sink")
        self._sink = sink
        self._program = program
        self._failure: BaseException | None = None
        self.counted = _Counted()

    def run(self) -> None:
        """Until there is no more."""
        try:
            for piece in chunks(cast("BinaryIO", self._program.stdout), _PIECE):
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


class _Feeding(threading.Thread):
    """Gives the program what is stored, and sums it."""

    def __init__(self, stored: BinaryIO, program: "subprocess.Popen[bytes]") -> None:
        super().__init__(name="backup-source")
        self._stored = stored
        self._program = program
        self.counted = _Counted()
        self.failed = False
        self.failure: ToolError | None = None
        """Why a store gives no more of it: that is no damage."""

    def run(self) -> None:
        sink = cast("BinaryIO", self._program.stdin)
        try:
            for piece in chunks(self._stored, _PIECE):
                self.counted.add(piece)
                write_all(sink, piece)
        except OSError:  # of either side; if the program is gone, it says why
            self.failed = True
        except ToolError as error:
            self.failure = error
        finally:
            _close(sink)


class _Plain(RawIOBase):
    """Decompresses what the program decrypts, and compares at the end."""

    def __init__(self, member: Member, feeding: _Feeding, program: "subprocess.Popen[bytes]") -> None:
        self._member = member
        self._feeding = feeding
        self._program = program
        decompressor = zstd().ZstdDecompressor(max_window_size=WINDOW)
        self._reader = decompressor.stream_reader(cast("BinaryIO", program.stdout), read_size=_PIECE)
        self._counted = _Counted()

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


@contextmanager
def _program(what: str, keys: Sequence[str]) -> Iterator["subprocess.Popen[bytes]"]:
    """Our own program of encryption; it is gone at the end."""
    read, write = os.pipe()
    with open(write, "wb") as lines:  # noqa: PTH123 -- a descriptor
        try:
            program = subprocess.Popen(
                [sys.executable, "-P", str(Path(cipher.__file__)), what, str(read)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                pass_fds=(read,),
            )
        finally:
            os.close(read)
        lines.write("\n".join(keys).encode())
    for pipe in (program.stdin, program.stdout):
        _widen(cast("BinaryIO", pipe).fileno())
    try:
        yield program
    finally:
        program.kill()
        _close(program.stdin)
        _close(program.stdout)
        program.wait()


def _widen(pipe: int) -> None:
    """Let a pipe hold some pieces, where the system can; a file stays as it is."""
    with suppress(AttributeError, OSError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE)


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


def _close(pipe: IO[bytes] | None) -> None:
    """Unless it is closed; whoever is at its other end may be gone."""
    if pipe is not None:
        with suppress(OSError):
            pipe.close()


def write_all(sink: BinaryIO, data: bytes) -> None:
    """A raw file may take less at once."""
    left = memoryview(data)
    while left:
        left = left[sink.write(left) :]
