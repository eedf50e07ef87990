"""Several worker processes on one socket: started, replaced when they die, and stopped together.

The parent binds the socket and opens nothing else: no database, no policy, no
connection of a client. A worker is the server as it is without workers, but for the socket,
the keys that all share, and its lifeline.
"""

import asyncio
import logging
import secrets
import signal
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass

from ostiary.config.settings import Http
from ostiary.hangup import on_hangup
from ostiary.http.lifeline import Handover, handed_over, is_ready
from ostiary.http.listener import url_of

_log = logging.getLogger(__name__)
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_LAST_WORDS_S = 15.0
"""After `shutdown_s`, for outcomes and the last checkpoint; then a worker is killed."""
_SOON_S, _LATE_S = 0.5, 30.0
_ROOM_S = 2.0
_LASTED_S = 60.0
"""A worker that lived so long did not die of its start; the next is started soon again."""


@dataclass(frozen=True, slots=True)
class _Worker:
    process: Process
    line: socket.socket
    since: float
    """Start, by the loop's clock."""


class _Died(Exception):
    """A worker ended before it was ready."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Workers:
    """The workers of one server."""

    def __init__(self, listener: socket.socket, http: Http, options: Sequence[str]) -> None:
        """`options` of the command line name the configuration to them."""
        self._listener = listener
        self._http = http
        self._options = options
        self._keys = http.keys or (secrets.token_hex(32),)
        self._workers: dict[int, _Worker] = {}
        self._ready: set[int] = set()
        self._asked = asyncio.Event()

    async def serve(self, progress: Callable[[str], None]) -> int:
        """Serve until SIGINT or SIGTERM, or until a worker cannot start; the exit code.

        A second signal has calls cancelled at once, and recorded so.
        """
        for asked in _SIGNALS:
            asyncio.get_running_loop().add_signal_handler(asked, self._stop)
        on_hangup(self._pass_on_hangup)
        keeping = asyncio.create_task(self._keep(progress))
        asked_to_stop = asyncio.create_task(self._asked.wait())
        await asyncio.wait((keeping, asked_to_stop), return_when=asyncio.FIRST_COMPLETED)
        for task in (keeping, asked_to_stop):
            task.cancel()
        await asyncio.wait((keeping, asked_to_stop))
        stopped = await self._stopped()
        return stopped if keeping.cancelled() else keeping.result()

    def _stop(self) -> None:
        if self._asked.is_set():
            self._tell(signal.SIGTERM)
        self._asked.set()

    def _pass_on_hangup(self) -> None:
        """Have each read its policy files again; one that is starting does so anyway, and the signal would end it."""
        for number in self._ready:
            with suppress(ProcessLookupError):
                self._workers[number].process.send_signal(signal.SIGHUP)

    async def _keep(self, progress: Callable[[str], None]) -> int:
        """Have them all running; ends only with the exit code of one that could not start at first."""
        numbers = range(self._http.workers)
        try:
            # One goes ahead: what is wrong with the configuration is said once.
            for some in (numbers[:1], numbers[1:]):
                await _all([self._start(number) for number in some])
        except _Died as died:
            return died.code
        progress(f"listening on {url_of(self._listener)} with {len(numbers)} workers")
        await _all([self._replaced(number) for number in numbers])
        raise AssertionError("a worker is replaced for ever")

    async def _replaced(self, number: int) -> None:
        delay = _SOON_S
        while True:
            worker = self._workers[number]
            code = await worker.process.wait()
            worker.line.close()
            self._ready.discard(number)
            if asyncio.get_running_loop().time() - worker.since > _LASTED_S:
                delay = _SOON_S
            _log.warning("worker %d ended with %d; another starts in %.1f s", number, _exit_code(code), delay)
            await asyncio.sleep(delay)
            delay = min(2 * delay, _LATE_S)
            with suppress(_Died):
                await self._start_at_last(number)
                _log.info("worker %d is replaced", number)

    async def _start_at_last(self, number: int) -> None:
        """Start one as soon as the system has room for it. Raises _Died."""
        while True:
            try:
                return await self._start(number)
            except OSError as error:
                _log.error("worker %d cannot be started: %s", number, error.strerror)
                await asyncio.sleep(_ROOM_S)

    async def _start(self, number: int) -> None:
        """Start one and wait until it is ready. Raises _Died."""
        line, theirs = socket.socketpair()
        try:
            with theirs:
                handed_over(line, Handover(number, self._keys))
                process = await self._process(theirs)
        except BaseException:
            line.close()
            raise
        line.setblocking(False)  # noqa: FBT003 the library's own way
        self._workers[number] = _Worker(process, line, asyncio.get_running_loop().time())
        if not await is_ready(line):
            raise _Died(_exit_code(await process.wait()))
        self._ready.add(number)

    async def _process(self, stdin: socket.socket) -> Process:
        descriptor = self._listener.fileno()
        return await asyncio.create_subprocess_exec(
            # Without -P a module of the folder that the server was started in would come before ours.
            *(sys.executable, "-P", "-m", "ostiary", "serve", "--http", "--listener", str(descriptor), *self._options),
            stdin=stdin.fileno(),
            pass_fds=(descriptor,),
            start_new_session=True,  # Ctrl-C at a terminal is for the parent alone, which passes it on once
        )

    async def _stopped(self) -> int:
        """Stop them all and wait; 0, or the exit code of one that did not end well."""
        self._listener.close()
        for worker in self._workers.values():
            worker.line.close()
        ends = [asyncio.create_task(worker.process.wait()) for worker in self._workers.values()]
        if ends:
            await asyncio.wait(ends, timeout=self._http.shutdown_s + _LAST_WORDS_S)
        self._tell(signal.SIGKILL)
        codes = await asyncio.gather(*ends)
        return next((_exit_code(code) for code in codes if code), 0)

    def _tell(self, word: signal.Signals) -> None:
        for worker in self._workers.values():
            with suppress(ProcessLookupError):
                worker.process.send_signal(word)


async def _all(parts: Sequence[Coroutine[None, None, None]]) -> None:
    """Wait for all; the first that fails ends the others, and its failure is raised as it is."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _exit_code(code: int) -> int:
    """As a shell tells it, where a signal ended the process."""
    return code if code >= 0 else 128 - code
