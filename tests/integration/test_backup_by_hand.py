"""RESTORE.txt, which lies in every repository: its commands are run as they stand, by a shell, without anything of ours."""

import asyncio
import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from fix_backup import Vault, new_vault
from fix_full import FullBackup
from fix_incremental import Chain
from fix_postgres import PostgresServer, short_directory

from ostiary_tools.backup.engines.logical import LogicalEngine
from ostiary_tools.backup.making import making
from ostiary_tools.backup.manifest import Content, Kind
from ostiary_tools.backup.port import Made, Source
from ostiary_tools.backup.programs import Sought
from ostiary_tools.backup.repository import StoredBackup

pytestmark = pytest.mark.skipif(
    not (shutil.which("age") and shutil.which("zstd")), reason="the programs age and zstd are not installed"
)
DECRYPT, LOGICAL, FULL, INCREMENTAL = 1, 3, 4, 5


async def quiet(done: float, total: float | None, words: str) -> None:
    """Nobody is told."""


def commands(vault: Vault, section: int, **values: object) -> str:
    """Those of a section, with these values for those that stand there."""
    text = (vault.root / "RESTORE.txt").read_text()
    found = re.search(rf"^{section}\. [^\n]*\n-+\n(.*?)(?=^\S[^\n]*\n-+\n|\Z)", text, re.MULTILINE | re.DOTALL)
    assert found
    lines = [line[4:] for line in found[1].splitlines() if line.startswith("    ")]
    for name, value in values.items():
        [place] = [n for n, line in enumerate(lines) if line.startswith(f"{name}=")]
        lines[place] = f"{name}='{value}'"
    return "\n".join(lines)


def run(script: str, *, user: str | None = None, **environment: str) -> str:
    """What it says; it must not fail."""
    found = subprocess.run(
        ["/bin/bash", "-c", f"set -euo pipefail\n{script}"],
        user=user,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C"} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert found.returncode == 0, found.stderr
    return found.stdout


async def put(vault: Vault, kind: Kind, members: dict[str, tuple[Content, Path]]) -> StoredBackup:
    async with making(vault.repository, kind, "shop", "job") as made:
        kept = [await made.put(name, content, path.open("rb"), lambda _: None) for name, (content, path) in members.items()]
        return await made.commit(Made("18", tuple(kept), None))


def decrypted(vault: Vault, kept: StoredBackup, out: Path) -> Path:
    """All members, by the recovery key, where their sums are those of the manifest."""
    key = vault.root.parent / "recovery.txt"
    key.write_text(f"# taken out of the safe\n{vault.recovery.text}\n")
    said = run(commands(vault, DECRYPT, BACKUP=vault.root / "backups" / kept.manifest.id, KEY=key, OUT=out))
    for member in kept.manifest.members:
        assert f"{member.plain_sha256}  {member.name.removesuffix('.zst.age')}" in said
    return out


def test_a_sqlite_file_comes_back_by_hand(tmp_path: Path):
    vault = new_vault(tmp_path)
    with sqlite3.connect(tmp_path / "a.db") as made:
        made.execute("CREATE TABLE t AS SELECT 42 AS v")
    made.close()
    kept = asyncio.run(put(vault, Kind.SQLITE, {"shop.db": (Content.SQLITE, tmp_path / "a.db")}))
    again = sqlite3.connect(decrypted(vault, kept, tmp_path / "out") / "shop.db")
    assert again.execute("SELECT v FROM t").fetchall() == [(42,)]
    again.close()


def test_damage_ends_the_commands(tmp_path: Path):
    vault = new_vault(tmp_path)
    (tmp_path / "a.db").write_bytes(bytes(1000))
    kept = asyncio.run(put(vault, Kind.SQLITE, {"shop.db": (Content.SQLITE, tmp_path / "a.db")}))
    file = vault.root / "backups" / kept.manifest.id / "shop.db.zst.age"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(AssertionError, match="did NOT match"):
        decrypted(vault, kept, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_logical_backup_comes_back_by_hand(
    postgres_server: PostgresServer,
    made_in: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("ostiary_tools.backup.engines.groups.LARGE", 0)
    vault = new_vault(tmp_path)
    database = made_in(postgres_server, "CREATE TABLE t (v int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 1000);")
    kept = asyncio.run(_logical(vault, postgres_server.dsn(database=database)))
    out = decrypted(vault, kept, tmp_path / "out")
    assert (out / "data-1.dump").exists()
    name = f"{database}_by_hand"
    path = f"{postgres_server.binaries}:{os.environ['PATH']}"
    try:
        script = f"OUT='{out}'\n{commands(vault, LOGICAL, DATABASE=name)}"
        run(script, PATH=path, PGHOST=str(postgres_server.root), PGUSER="ostiary_admin")
        ask = ("-X", "-A", "-t", "-h", str(postgres_server.root), "-U", "ostiary_admin", "-d", name, "-c")
        assert postgres_server.run("psql", *ask, "SELECT count(*), sum(v) FROM t").stdout == "1000|500500\n"
        assert "t_pkey" in postgres_server.run("psql", *ask, "SELECT indexrelid::regclass FROM pg_index").stdout
    finally:
        postgres_server.drop([name])


async def _logical(vault: Vault, dsn: str) -> StoredBackup:
    async with making(vault.repository, Kind.LOGICAL, "shop", "job") as keeping:
        made = await LogicalEngine(Sought(), 1).make(Source("shop", Kind.LOGICAL, dsn), keeping, vault.root, quiet)
        return await keeping.commit(made)


@pytest.mark.slow
def test_a_full_backup_comes_back_by_hand_to_its_point(full_backup: FullBackup, postgres_server: PostgresServer):
    server, home = postgres_server, short_directory()
    point = full_backup.cluster.point
    assert point is not None
    out = decrypted(full_backup.vault, full_backup.kept, home / "out")
    for path in (home, out, *out.iterdir()):
        shutil.chown(path, server.user or os.getuid())
    programs = f"{server.binaries}:{os.environ['PATH']}"
    try:
        script = f"OUT='{out}'\n{commands(full_backup.vault, FULL, POINT=point.lsn, PORT=5499)}"
        run(script, user=server.user, PATH=programs)
        copy = ("-X", "-A", "-t", "-h", str(out), "-p", "5499", "-U", "ostiary_admin", "-d", full_backup.database, "-c")
        wait = "DO $$ BEGIN WHILE pg_is_in_recovery() LOOP PERFORM pg_sleep(0.05); END LOOP; END $$"
        server.run("psql", *copy, wait)
        # By hand it is a moment later than the fingerprint, and rows were written all the time.
        assert int(server.run("psql", *copy, "SELECT count(*) FROM orders").stdout) >= full_backup.fingerprint.rows
        assert server.run("psql", *copy, "SELECT pg_is_in_recovery()").stdout == "f\n"
    finally:
        server.run("pg_ctl", "-D", str(out / "data"), "-m", "immediate", "-w", "stop", check=False)
        shutil.rmtree(home, ignore_errors=True)


@pytest.mark.slow
def test_a_chain_of_backups_comes_back_by_hand_to_the_point_of_the_last(chained: Chain):
    server, home, last = chained.server, short_directory(), chained.last.manifest
    assert last.cluster is not None
    assert last.cluster.point is not None
    assert last.fingerprint is not None
    outs = [decrypted(chained.vault, kept, home / f"out{number}") for number, kept in enumerate(chained.links)]
    for path in (home, *home.rglob("*")):
        shutil.chown(path, server.user or os.getuid())
    programs, out = f"{server.binaries}:{os.environ['PATH']}", outs[-1]
    values = {"PARTS": " ".join(map(str, outs)), "OUT": out, "POINT": last.cluster.point.lsn, "PORT": 5499}
    try:
        run(commands(chained.vault, INCREMENTAL, **values), user=server.user, PATH=programs)
        copy = ("-X", "-A", "-t", "-h", str(out), "-p", "5499", "-U", "ostiary_admin", "-d", "shop", "-c")
        wait = "DO $$ BEGIN WHILE pg_is_in_recovery() LOOP PERFORM pg_sleep(0.05); END LOOP; END $$"
        server.run("psql", *copy, wait)
        [orders] = [table.rows for table in last.fingerprint.tables if table.table == "orders"]
        assert server.run("psql", *copy, "SELECT count(*) FROM orders").stdout == f"{orders}\n"
        server.run("pg_ctl", "-D", str(out / "data"), "-m", "fast", "-w", "stop")
        assert "Bad checksums:  0" in server.run("pg_checksums", "--check", "-D", str(out / "data")).stdout
    finally:
        server.run("pg_ctl", "-D", str(out / "data"), "-m", "immediate", "-w", "stop", check=False)
        shutil.rmtree(home, ignore_errors=True)
