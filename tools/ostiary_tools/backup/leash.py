"""A program's keeper: it starts the program, and ends it when whoever asked for it is gone, even by `kill -9`.

Run by its path, as `python -I -S leash.py LINE GRACE SIGNAL IDENTITY RUBBISH PROGRAM …`, and never imported. `LINE` is the
descriptor of a pipe's reading end: bytes in it are signals to pass on, and its end means that the program has to end, at first
by `SIGNAL` and after `GRACE` seconds by SIGKILL. `IDENTITY` is `uid:gid` or empty, `RUBBISH` a folder to remove afterwards or
empty. It ends as the program did; 128 and more say by which signal.
"""

import os
import select
import signal
import sys
import time
from contextlib import suppress
from typing import NoReturn

_ENDING = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
_PASSED = {*_ENDING, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2}
_NOT_STARTED = 127
_NICENESS = 10
"""Whoever uses the database at the same time goes first."""
_AGAIN_S = 1.0
"""A program that the kernel holds does not end at once even by SIGKILL."""


def main(line: int, grace_s: float, last: int, identity: str, rubbish: str, *program: str) -> int:
    """Keep one program until it has ended; its exit code."""
    os.set_inheritable(line, False)  # noqa: FBT003 the library's own way
    os.umask(0o077)  # here, since uvloop starts no program with one
    noted = _noting()
    # What comes while the child is not yet the program waits for it to be one.
    signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED)
    child = os.fork()
    if child == 0:
        _become(identity, program)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED)
    code = _kept(child, line, noted, grace_s, last)
    if rubbish:
        import shutil  # only now, since most programs leave nothing

        shutil.rmtree(rubbish, ignore_errors=True)
    return code


def _noting() -> int:
    """Signals to this process become bytes in the pipe whose reading end this is."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, *_ENDING):
        signal.signal(number, lambda _number, _frame: None)
    return read


def _become(identity: str, program: tuple[str, ...]) -> NoReturn:
    """Turn into the program. What Python ignores a program would ignore too."""
    try:
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD, *_PASSED):
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED)
        if identity:
            uid, gid = map(int, identity.split(":"))
            os.setgroups([])
            os.setgid(gid)
            os.setuid(uid)
        os.chdir("/")
        os.nice(_NICENESS)
        os.execv(program[0], program)  # noqa: S606 no shell is wanted
    except OSError as error:
        os.write(2, f"error: it could not be started: {error.strerror}\n".encode())
    os._exit(_NOT_STARTED)


def _kept(child: int, line: int, noted: int, grace_s: float, last: int) -> int:
    watched, deadline = [line, noted], 0.0
    while True:
        wait = max(0.0, deadline - time.monotonic()) if deadline else None
        ready = select.select(watched, [], [], wait)[0]
        told = os.read(noted, 512) if noted in ready else b""
        words = os.read(line, 512) if line in ready else b""
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
        for number in words:
            _send(child, number)
        if (line in ready and not words) or set(told) & _ENDING:
            watched = [noted]
            if not deadline:
                deadline = time.monotonic() + grace_s
                _send(child, last)
        elif deadline and not ready:
            _send(child, signal.SIGKILL)
            deadline = time.monotonic() + _AGAIN_S


def _send(child: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(child, number)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5], *sys.argv[6:]))
