"""What the administrator of the control database does with one of its tables, from a command."""

import asyncio
import os
import pwd
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from ostiary.cli_options import say
from ostiary.exits import CommandFailed, Exit

if TYPE_CHECKING:
    from ostiary.audit.recorder import Recorder
    from ostiary.config import Config
    from ostiary_tools.control.migrated import MigrationTable
    from ostiary_tools.control.people import PeopleTable
    from ostiary_tools.control.taints import TaintTable
    from ostiary_tools.control.tokens import TokenTable


Table = TypeVar("Table", "TokenTable", "TaintTable", "PeopleTable", "MigrationTable")
T = TypeVar("T")


def administered(config: "Config", table: Callable[[str], Table], what: str, act: "Callable[[Table, Recorder], Awaitable[T]]") -> T:
    """Do it with the table and the audit log that it is recorded in. Raises CommandFailed; `what` is in the table."""
    from ostiary.app import open_administered

    async def run() -> T:
        async with open_administered(config, say, table, what) as (opened, recorder):
            return await act(opened, recorder)

    return _done(config, what, run)


def looked_at(config: "Config", table: Callable[[str], Table], what: str, look: "Callable[[Table], Awaitable[T]]") -> T:
    """Only look at the table: nothing is recorded. Raises CommandFailed."""
    from ostiary.app import open_table

    async def run() -> T:
        async with open_table(config, say, table) as opened:
            return await look(opened)

    return _done(config, what, run)


def _done(config: "Config", what: str, run: Callable[[], Coroutine[Any, Any, T]]) -> T:
    from ostiary_tools.control.connect import JournalError

    if config.control.dsn is not None and config.control.admin_dsn is None:
        raise CommandFailed(f"only the administrator of the control database has the {what}", "set `control.admin_dsn`", Exit.USAGE)
    try:
        return asyncio.run(run())
    except JournalError as error:
        hint = "see that its database runs, and that `ostiary audit install` was run"
        raise CommandFailed(f"the {what} cannot be reached: {error}", hint, Exit.UNAVAILABLE) from error


def account_name() -> str:
    """The account that the system runs this as: a variable of the environment could say anything."""
    account = os.geteuid()
    try:
        return pwd.getpwuid(account).pw_name
    except KeyError:
        return f"uid {account}"
