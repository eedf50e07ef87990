"""Programs of PostgreSQL while they run. They end with the block that started them, and with this process, however it ends.

A program is told nothing secret in its arguments; what it says on stderr becomes words without secrets. Its output is a pipe that
a thread reads, its input one that a thread writes.
"""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

from ostiary_tools.backup.pipes import Input, Line, Output, Stderr, pipe
from ostiary_tools.embedded.account import Account
from ostiary_tools.errors import ProgramFailed, Unavailable

_LEASH = Path(__file__).with_name("leash.py")
_LONGEST_WORDS = 300
_STDERR_S = 5.0
"""How long stderr may stay open when a program is gone: what it left behind could hold it for ever."""
_NO_REASONS = frozenset({"disconnected"})
"""What programs say after the reason."""
_KILLED = 128 + signal.SIGKILL
_NO_REASON = "it gave no reason ({})"
_COMPLAINT = re.compile(r"^.*?\b(?:error|fatal|panic|FATAL|PANIC|ERROR): +(.*)$")
_VALUE = re.compile(r': "[^"]*"$')
"""What a message ends with where it quotes what was in a row."""


@dataclass(frozen=True, slots=True)
class Command:
    """What is to be run."""

    program: Path
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    """All that it has but PATH and LC_ALL."""
    secrets: tuple[str, ...] = ()
    """What no message repeats."""
    account: Account | None = None
    """Whom it runs as; ourselves without one."""
    writes: bool = False
    """Its output is read: `Running.output`."""
    reads: bool = False
    """Its input is written: `Running.input`."""
    last_signal: signal.Signals = signal.SIGTERM
    grace_s: float = 5.0
    """Between that signal and SIGKILL."""
    rubbish: Path | None = None
    """A folder that goes when it has ended."""


class Running:
    """A program that was started, and may have ended."""

    def __init__(self, command: Command, process: asyncio.subprocess.Process, line: Line, ends: "_Ends") -> None:
        self._command = command
        self._process = process
        self._line = line
        self._output = Output(ends.output, line) if command.writes else None
        self._input = Input(ends.source) if command.reads else None
        self._stderr = Stderr(ends.stderr)
        self._ended = asyncio.create_task(self._wait())

    @property
    def name(self) -> str:
        """Of the program."""
        return self._command.program.name

    @property
    def output(self) -> BinaryIO:
        """What it writes."""
        return cast("BinaryIO", self._output)  # a raw file is all that is asked of one here

    @property
    def input(self) -> BinaryIO:
        """What it reads."""
        return cast("BinaryIO", self._input)  # likewise

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self._ended.done()

    @property
    def killed(self) -> bool:
        """Whether it has ended by SIGKILL."""
        return self.over and self._ended.result() == _KILLED

    @property
    def said(self) -> str:
        """The last of what it said on stderr so far. It may have secrets in it."""
        return self._stderr.said.decode(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        """Pass it a signal."""
        self._line.say(number)

    async def ended(self) -> None:
        """Return when it has ended well. Raises ProgramFailed with its last complaint."""
        if code := await self.verdict():
            raise self._failed(self.words() or _NO_REASON.format(code))

    async def verdict(self) -> int:
        """How it ended by itself. Raises ProgramFailed where it was killed, which says nothing of what it looked at."""
        code = await self.code()
        if self.killed:
            raise self._failed(_NO_REASON.format(code))
        return code

    async def code(self) -> int:
        """How it ended, once it has: above 128 the number of the signal, less 128."""
        return await asyncio.shield(self._ended)

    def words(self) -> str:
        """Its last complaint, without secrets."""
        return complaint(self.said, self._command.secrets)

    async def close(self) -> None:
        """End it, and return when nothing of it is left."""
        self._line.cut()
        await asyncio.wait([self._ended])
        if self._output is not None:
            await asyncio.to_thread(self._output.free)
        if self._input is not None:
            await asyncio.to_thread(self._input.close)

    def _failed(self, why: str) -> ProgramFailed:
        return ProgramFailed(f"`{self.name}` ended with an error: {why}")

    async def _wait(self) -> int:
        code = await self._process.wait()
        if code < 0:  # the leash itself was killed, and what it held is on its own: both are of one group
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        with suppress(TimeoutError):
            async with asyncio.timeout(_STDERR_S):
                await self._stderr.ended.wait()
        self._stderr.close()
        return code if code >= 0 else 128 - code


@asynccontextmanager
async def started(command: Command) -> AsyncIterator[Running]:
    """A program that runs while the block lasts at most. Raises Unavailable where it cannot be started."""
    running = await _finished(asyncio.ensure_future(_start(command)))
    try:
        yield running
    finally:
        # A cancelled caller waits all the same: nothing of the program may be left when it goes on.
        closing = asyncio.ensure_future(running.close())
        try:
            await asyncio.shield(closing)
        except asyncio.CancelledError:
            await asyncio.wait([closing])
            raise


async def run(command: Command) -> None:
    """To its end. Raises ProgramFailed."""
    async with started(command) as running:
        await running.ended()


def complaint(said: str, secrets: tuple[str, ...] = ()) -> str:
    """The last complaint in what a program said, else its last line; without secrets, and without what it quotes of rows."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    complaints = [found[1] for line in lines if (found := _COMPLAINT.match(line))]
    told = [words for words in complaints if words not in _NO_REASONS] or complaints
    words = told[-1] if told else (lines[-1] if lines else "")
    for secret in filter(None, secrets):
        words = words.replace(secret, "…")
    words = _VALUE.sub("", words).rstrip(".")
    return words if len(words) <= _LONGEST_WORDS else words[: _LONGEST_WORDS - 1] + "…"


async def _finished(starting: "asyncio.Future[Running]") -> Running:
    """A start that is cancelled has happened all the same, so what it started is ended."""
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        await asyncio.wait([starting])
        if starting.exception() is None:
            await starting.result().close()
        raise


@dataclass(frozen=True, slots=True)
class _Ends:
    """Our ends of a program's pipes."""

    stderr: int
    output: int
    source: int


async def _start(command: Command) -> Running:
    ours: list[int] = []
    theirs: list[int] = []
    line, stderr = pipe(theirs, ours), pipe(ours, theirs)
    source = pipe(theirs, ours) if command.reads else None
    sink = pipe(ours, theirs) if command.writes else None
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-I", "-S", str(_LEASH), str(line[0]), *_orders(command), str(command.program), *command.arguments),
            stdin=source[0] if source else asyncio.subprocess.DEVNULL,
            stdout=sink[1] if sink else asyncio.subprocess.DEVNULL,
            stderr=stderr[1],
            pass_fds=(line[0],),
            env={"PATH": os.defpath, "LC_ALL": "C", **command.environment},
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        for descriptor in ours:
            os.close(descriptor)
        message = f"`{command.program.name}` could not be started: {error.strerror}"
        raise Unavailable(message, "is this machine out of memory?") from None
    finally:
        for descriptor in theirs:
            os.close(descriptor)
    return Running(command, process, Line(line[1]), _Ends(stderr[0], sink[0] if sink else -1, source[1] if source else -1))


def _orders(command: Command) -> tuple[str, ...]:
    identity = "" if command.account is None or not command.account.switch() else f"{command.account.uid}:{command.account.gid}"
    return str(command.grace_s), str(int(command.last_signal)), identity, str(command.rubbish or "")
