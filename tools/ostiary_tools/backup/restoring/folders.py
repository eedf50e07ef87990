"""The folder of a restore: staged beside its target, settled for a life without its primary, and given its name at the end."""

import os
import secrets
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from ostiary_tools.backup.making import called_off
from ostiary_tools.backup.scratch import Ground
from ostiary_tools.embedded.account import Account, blocked, server_account
from ostiary_tools.embedded.lock import opened, try_alone
from ostiary_tools.errors import Refused, Unavailable

_STAGE = ".ostiary-restoring-"
_LOCK = "lock"
_TOLD = "postgresql.auto.conf"
_SETTINGS = """
# Added by ostiary when it restored this copy: see to these before it becomes a primary.
listen_addresses = ''
archive_mode = off
archive_command = ''
restore_command = ''
primary_conninfo = ''
primary_slot_name = ''
synchronous_standby_names = ''
"""
_MISSING = {
    "postgresql.conf": "# The server's own was kept outside of its data directory, and is in no backup.\n",
    "pg_hba.conf": "# Likewise. The operating system's user may be the role of that name.\nlocal all all peer\n",
    "pg_ident.conf": "# Likewise.\n",
}


@asynccontextmanager
async def staged(target: Path) -> AsyncIterator[Path]:
    """A folder beside the target for what becomes it; gone at the end of the block. What killed restores left goes, too."""
    await called_off(lambda: None, _sweep, target.parent)
    stage, held = _stage(target)
    try:
        yield stage
    finally:
        await called_off(lambda: None, _remove, stage)
        os.close(held)


def standing(target: Path) -> Account:
    """Whom the new folder will belong to. Raises Refused and Unavailable before anything is written."""
    if os.path.lexists(target):
        raise Refused("exists", f"there is a `{target}` already", "a backup is restored to something new: name another folder")
    if not target.is_absolute() or not target.parent.is_dir():
        raise Refused("folder", f"there is no folder that `{target}` could be made in", "name another, or make it")
    account = server_account(target)
    barrier = blocked(target.parent, account)
    if barrier is not None:
        message = f"PostgreSQL would run as the user `{account.name}`, who may not pass `{barrier}`"
        raise Unavailable(message, f"name another folder, or let others pass with `chmod o+x {barrier}`")
    return account


def let_pass(folder: Path, account: Account) -> None:
    """Let the account's programs come to what is theirs in a folder of ours. Blocking."""
    if account.uid != os.geteuid():
        folder.chmod(0o711)


def given(folder: Path, account: Account) -> Path:
    """A new empty folder of the account's in one of ours, which it may pass from now on."""
    folder.mkdir(mode=0o700)
    let_pass(folder.parent, account)
    if account.uid != os.geteuid():
        os.chown(folder, account.uid, account.gid)
    return folder


def settle(data_dir: Path, account: Account) -> None:
    """Let it be recovered. What the server was told by `ALTER SYSTEM` waits outside: commands may be among it. Blocking.

    Only while nobody else can reach the folder.
    """
    _set_aside(data_dir)
    _write(data_dir / "recovery.signal", "", account)


def hand_over(data_dir: Path, target: Path, account: Account) -> None:
    """Let it be started by hand, and give it its name, for good. Blocking. Raises Refused where something has that name by now."""
    data_dir.parent.chmod(0o700)
    told = _set_aside(data_dir)
    before = told.read_text(encoding="utf-8", errors="surrogateescape") if told.exists() else ""
    _write(data_dir / _TOLD, before + _SETTINGS, account)
    for name, text in _MISSING.items():
        if not os.path.lexists(data_dir / name):
            _write(data_dir / name, text, account)
    _flush(data_dir)
    if os.path.lexists(target):
        raise Refused("exists", f"there is a `{target}` by now", "restore it under another name")
    data_dir.rename(target)
    _flush(target.parent)


def _set_aside(data_dir: Path) -> Path:
    """Where the settings are that the server was told, once they are not in the data directory any more."""
    told, aside = data_dir / _TOLD, data_dir.parent / _TOLD
    if told.exists():
        told.rename(aside)
    return aside


def _write(path: Path, text: str, account: Account) -> None:
    """A new file of the account's, never through a link."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with open(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:  # noqa: PTH123 a descriptor
        file.write(text)
        file.flush()
        os.fsync(descriptor)
        if account.uid != os.geteuid():
            os.fchown(descriptor, account.uid, account.gid)


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def steps(target: Path, ground: Ground) -> tuple[str, ...]:
    """What a person does with it, in order."""
    program = ground.programs.path("pg_ctl")
    return (
        f"look at `{target}/postgresql.conf`, `pg_hba.conf` and the end of `postgresql.auto.conf`: who may connect, from where",
        f"start it as the user `{ground.account.name}`: `{program} -D {target} -l {target}.log -o '-k /tmp -p 5433' start`",
        "see that it holds what you want; archiving and listening to networks are off in it",
        "stop the old server, let clients connect to this one, and back it up anew: its history goes on by itself",
    )


def _sweep(folder: Path) -> None:
    """Remove folders whose restore was killed: the kernel has freed their locks."""
    for left in folder.glob(f"{_STAGE}*"):
        if not (left / _LOCK).exists():
            with suppress(OSError):  # its holder ended before it held it, or when all else was gone
                left.rmdir()
            continue
        with opened(left / _LOCK) as lock:
            if try_alone(lock):
                _remove(left)


def _remove(stage: Path) -> None:
    """The lock last: what has none and is not empty would be nobody's, for ever."""
    with suppress(OSError):  # what cannot be removed stays for the next
        for inner in stage.iterdir():
            if inner.is_dir() and not inner.is_symlink():
                shutil.rmtree(inner)
            elif inner.name != _LOCK:
                inner.unlink()
        shutil.rmtree(stage)


def _stage(target: Path) -> tuple[Path, int]:
    """The folder, and the lock in it that we hold."""
    while True:
        stage = target.parent / f"{_STAGE}{secrets.token_hex(8)}"
        try:
            stage.mkdir(mode=0o700)
            lock = _locked(stage)
        except OSError as error:
            raise Unavailable(f"nothing can be written beside `{target}`: {error.strerror}", "name another folder") from error
        if lock is not None:
            return stage, lock


def _locked(stage: Path) -> int | None:
    """The lock; nothing where somebody swept the folder, thinking that it was left."""
    try:
        lock = os.open(stage / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        return None
    if try_alone(lock) and (stage / _LOCK).exists():
        return lock
    os.close(lock)
    return None
