"""The operating system's user that PostgreSQL runs as, and what that user can reach.

An ordinary user runs it as themselves. PostgreSQL refuses root, so root runs it as
the first of `ostiary`, `postgres`, `nobody` that exists; an existing data directory
keeps the one it was made for. Modes of directories are read here and never changed.
"""

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ostiary_tools.embedded.errors import EmbeddedError

STAND_INS = ("ostiary", "postgres", "nobody")
"""Whom root lets PostgreSQL run as, in this order."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the operating system."""

    name: str
    uid: int
    gid: int
    groups: frozenset[int]

    def switch(self) -> dict[str, Any]:
        """Arguments for `subprocess` that make a child this user; empty when we are it already."""
        if self.uid == os.geteuid():
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


def ourselves() -> Account:
    """The user of this process. Raises EmbeddedError for a number without a name: peer authentication compares names."""
    uid = os.geteuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        message = f"the user id `{uid}` has no name on this machine, and PostgreSQL needs one"
        raise EmbeddedError(message, "add the user to /etc/passwd, or run as a user that has a name") from None
    return Account(name, uid, os.getegid(), frozenset((os.getegid(), *os.getgroups())))


def server_account(cluster_dir: Path) -> Account:
    """Whom PostgreSQL runs as for this cluster directory, which need not exist yet. Raises EmbeddedError."""
    me = ourselves()
    owner = cluster_dir.lstat().st_uid if os.path.lexists(cluster_dir) else None
    if me.uid != 0:
        if owner not in (None, me.uid):
            raise _foreign(cluster_dir, owner)
        return me
    candidates = [account for account in map(named, STAND_INS) if account is not None]
    for account in candidates:
        if owner in (None, account.uid):
            return account
    if owner is not None:
        raise _foreign(cluster_dir, owner)
    message = "PostgreSQL does not run as root, and none of the users `ostiary`, `postgres`, `nobody` exists"
    raise EmbeddedError(message, "create one with `useradd --system ostiary`, or run as an ordinary user")


def blocked(path: Path, account: Account) -> Path | None:
    """The first directory on the way to `path` that `account` may not pass, by its mode; `None` when the way is free.

    Directories that do not exist yet are passed over. Access lists beyond the mode are not seen.
    """
    for directory in (*reversed(path.parents), path):
        try:
            status = directory.stat()
        except FileNotFoundError:
            return None
        except PermissionError:
            return directory.parent
        if not _passes(status, account):
            return directory
    return None


def _passes(status: os.stat_result, account: Account) -> bool:
    if status.st_uid == account.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid in account.groups:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def named(name: str) -> Account | None:
    """The user of that name, where there is one."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(name, entry.pw_uid, entry.pw_gid, frozenset((entry.pw_gid,)))


def _foreign(cluster_dir: Path, owner: int | None) -> EmbeddedError:
    message = f"`{cluster_dir}` belongs to another user (id {owner})"
    return EmbeddedError(message, "run as that user, or choose another home")
