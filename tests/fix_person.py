"""A person at the terminal of a site with a shop to back up."""

import asyncio
import io
import re
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fix_custody import KEEPER, SHOP
from fix_postgres import PostgresServer
from fix_server import READS_ALL, MakeSite, Site

from ostiary import cli


@dataclass(frozen=True)
class Said:
    """How a command ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Person:
    """Whoever runs commands at a site."""

    site: Site
    capsys: Any
    monkeypatch: Any
    database: str

    @property
    def stick(self) -> Path:
        """What is taken away."""
        return self.site.folder / "stick"

    @property
    def backups(self) -> Path:
        """The repository's."""
        return self.site.config.backup_folder / "backups"

    def runs(self, *words: str, types: str = "", alone: bool = False) -> Said:
        """`ostiary …` in this process, `alone` without the site's configuration."""
        self.monkeypatch.setattr(sys, "stdin", io.StringIO(types))
        with pytest.raises(SystemExit) as left:
            cli.main([*words, *([] if alone else ["--config", str(self.site.folder / "ostiary.toml")])])
        said = self.capsys.readouterr()
        return Said(int(left.value.code or 0), said.out, said.err)

    def does(self, *words: str, **more: Any) -> str:
        """Likewise; it succeeds, and what it says on stdout."""
        said = self.runs(*words, **more)
        assert said.code == 0, said.err
        return said.out

    def begins(self) -> None:
        """A repository with a recovery key on the stick."""
        self.does("backup", "init", "--recovery-key", str(self.stick / "recovery.key"))

    def backs_up(self) -> str:
        """The id of a new backup of the shop."""
        found = re.search(r"backup `([0-9TZa-f-]+)`", self.does("backup", "create"))
        assert found
        return found[1]

    def events(self) -> list[tuple[str, str]]:
        """On record, what people did, and to what."""
        records = asyncio.run(self.site.records())
        return [(one["event"], one.get("backup", "")) for one in records if "event" in one and "person" in one]

    def calls(self) -> list[tuple[str, str, tuple[str, ...], str]]:
        """On record, of each call that was decided its tool, agent, roles and decision."""
        records = asyncio.run(self.site.records())
        decided = [one for one in records if one["kind"] in ("i", "d") and one.get("transport") == "command"]
        return [(one["tool"], one["agent"], tuple(one["roles"]), one["decision"]) for one in decided]


@pytest.fixture
def person(
    request: pytest.FixtureRequest,
    make_site: MakeSite,
    make_database: Callable[[str], Awaitable[str]],
    postgres_server: PostgresServer,
    capsys: Any,
    monkeypatch: Any,
) -> Person:
    """At a site with the shop, and with what else a test says of the configuration."""

    async def made() -> Person:
        database = await make_database(SHOP)
        dsns = {"shop": postgres_server.dsn(database=database)}
        backups = {"shop": postgres_server.dsn(KEEPER, database)}
        site = await make_site(dsns, policy=READS_ALL, backups=backups, more=getattr(request, "param", ""))
        return Person(site, capsys, monkeypatch, database)

    one = asyncio.run(made())
    monkeypatch.setenv("HOME", str(one.site.folder))
    monkeypatch.chdir(one.site.folder)
    one.site.folder.chmod(0o711)  # as root, the user of copies passes it
    one.stick.mkdir()
    return one
