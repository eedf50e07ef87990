"""Private folders for what is in the making. Each goes with its work, and what a killed process left goes with the next."""

import asyncio
import fcntl
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from ostiary_tools.embedded.account import Account, blocked, server_account
from ostiary_tools.embedded.errors import EmbeddedError
from ostiary_tools.errors import Unavailable

_GUARD = "guard.lock"
_LOCK = "held.lock"
_WORK = "work"


@asynccontextmanager
async def spooled(folder: Path, account: Account | None = None) -> AsyncIterator[Path]:
    """A new empty folder in that one, until the block ends; the account's, where it is another's than ours."""
    made, lock = await asyncio.to_thread(_made, folder, account)
    try:
        yield made / _WORK
    finally:
        await asyncio.shield(asyncio.to_thread(_gone, made, lock))


def user_of(folder: Path) -> Account:
    """Whom servers of copies in it run as. Raises Unavailable where there is nobody who may."""
    try:
        account = server_account(folder / "data")
    except EmbeddedError as error:
        raise Unavailable(error.message, error.hint) from error
    if (barrier := blocked(folder, account)) is not None:
        message = f"copies are run by the user `{account.name}`, who may not pass `{barrier}`"
        raise Unavailable(message, f"let others pass with `chmod o+x {barrier}`, or choose another `home.data`")
    return account


def _made(folder: Path, account: Account | None) -> tuple[Path, int]:
    # An account that has a folder in it passes it; it lists nothing.
    folder.mkdir(mode=0o711, parents=True, exist_ok=True)
    # Under the guard, so that no other takes it for one whose holder died before its lock is held.
    with _guarded(folder):
        for left in folder.iterdir():
            if left.is_dir():
                _swept(left)
        made = Path(tempfile.mkdtemp(dir=folder))
        lock = os.open(made / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
    (made / _WORK).mkdir(mode=0o700)
    if account is not None and account.uid != os.geteuid():
        for path in (made, made / _WORK):
            os.chown(path, account.uid, account.gid)
    return made, lock


@contextmanager
def _guarded(folder: Path) -> Iterator[None]:
    guard = os.open(folder / _GUARD, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(guard, fcntl.LOCK_EX)
        yield
    finally:
        os.close(guard)


def _swept(left: Path) -> None:
    """Take it away unless its holder lives."""
    try:
        lock = os.open(left / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        shutil.rmtree(left, ignore_errors=True)
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return
    _gone(left, lock)


def _gone(made: Path, lock: int) -> None:
    with suppress(OSError):
        shutil.rmtree(made, ignore_errors=True)
    os.close(lock)
