"""Exports through a real MCP client: the file holds exactly the rows, within bounds, and nothing is left of what failed."""

import asyncio
import csv
import fcntl
import hashlib
import io
import math
import os
import resource
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from fix_pages import READERS, Library, OpenLibrary, asked
from fix_server import HIDES, READS_ALL
from fix_waiting import until
from mcp import Client

from ostiary.export.exporter import Bounds, export
from ostiary.export.formats import Csv
from ostiary_policies.model import Statement
from ostiary_tools.datasources.port import ReadLimits
from ostiary_tools.result import ColumnHead

FEW = """
@id("few-calls") permit (principal in Role::"few", action, resource) when { resource != Tool::"export" };
@id("few-exports") @limit_rows("30") permit (principal in Role::"few", action == Action::"call", resource == Tool::"export");
@id("none-reads") permit (principal in Role::"none", action, resource) when { resource != Tool::"export" };
"""
POLICY = READS_ALL + READERS + HIDES + FEW


@asynccontextmanager
async def open_with(library: OpenLibrary, role: str = "reader", **wishes: Any) -> AsyncIterator[tuple[Library, Client, Path]]:
    async with library(policy=POLICY, **wishes) as opened, opened.client(role) as client:
        yield opened, client, opened.site.config.export_folder


def path_of(reply: str) -> Path:
    path, _, rest = reply.partition("\n")
    assert "sha256" in rest, reply
    return Path(path)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.asyncio
async def test_a_file_holds_the_rows_as_postgresql_writes_them_and_the_record_its_digest(library: OpenLibrary):
    sql = "select id, grp, name, born, '' as empty, e'a\"b,\\nc' as text from people order by id"
    async with open_with(library) as (opened, client, folder):
        reply = await asked(client, "export", sql=sql, name="people_2026-A")
        path, expected, site = path_of(reply), await opened.csv(sql), opened.site
    written = path.read_bytes()
    assert path.parent == folder
    assert path.name.startswith("people_2026-A-")
    assert path.suffix == ".csv"
    assert (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(folder.stat().st_mode)) == (0o600, 0o700)
    assert names_in(folder) == [path.name]
    head, _, body = written.decode().partition("\r\n")
    assert head == "id,grp,name,born,empty,text"
    assert body.replace("\r\n", "\n") == "\n".join([*expected, ""])
    digest = hashlib.sha256(written).hexdigest()
    assert reply.splitlines()[1] == f"900 rows, {len(written)} bytes, sha256 {digest}"
    intent, outcome = [r for r in await site.records() if r["kind"] in "io"]
    assert intent["arguments"] == {"name": "people_2026-A", "sql": f"<{len(sql)} chars>"}
    assert (outcome["rows"], outcome["bytes"], outcome["sha256"]) == (900, len(written), digest)


@pytest.mark.asyncio
async def test_the_same_name_never_overwrites(library: OpenLibrary):
    async with open_with(library) as (_, client, folder):
        replies = await asyncio.gather(*(asked(client, "export", sql=f"select {n} as n", name="x") for n in range(12)))
        assert len({path_of(reply) for reply in replies}) == len(names_in(folder)) == 12


@pytest.mark.asyncio
async def test_an_export_is_judged_and_decided_as_a_query(library: OpenLibrary):
    async with open_with(library) as (opened, client, folder):
        for sql, said in {
            "select secret from people": "unknown column `secret`",
            "delete from people": "refused",
            "select * from people; select 1": "refused",
            "copy people to program 'id'": "refused",
            "select pg_read_file('/etc/passwd')": "refused",
            "select id from people where id = $1": "the statement has 1 parameters",
        }.items():
            assert said in await asked(client, "export", sql=sql, name="x")
        reply = await asked(client, "export", sql="select * from people where id = $1", params=[7], name="x")
        assert path_of(reply).read_text().splitlines() == ["id,grp,name,born,page", "7,0,n7,2000-01-08,7"]
        async with opened.client("none") as other:
            with pytest.raises(Exception, match="Unknown tool: export"):
                await other.call_tool("export", {"sql": "select 1", "name": "x"})
        assert len(names_in(folder)) == 1


@pytest.mark.asyncio
async def test_the_bounds_of_policy_and_configuration_are_kept_and_said(library: OpenLibrary):
    exports = {"rows": 700, "bytes": 5000}
    async with open_with(library, exports=exports) as (opened, client, _):
        reply = await asked(client, "export", sql="select id from people order by id", name="x")
        assert reply.splitlines()[1].startswith("700 rows, ")
        assert "TRUNCATED, more exist" in reply
        assert path_of(reply).read_text().splitlines()[-1] == "700"
        assert "TRUNCATED" not in await asked(client, "export", sql="select id from people where id <= 700", name="x")
        reply = await asked(client, "export", sql="select name, born, id from people order by id", name="x")
        written = path_of(reply).read_bytes()
        assert 4900 < len(written) <= 5000
        assert written.endswith(b"\r\n")
        assert "TRUNCATED" in reply
        async with opened.client("few") as few:
            reply = await asked(few, "export", sql="select id from people", name="x")
            assert "\n30 rows" in reply
            assert "TRUNCATED" in reply


@pytest.mark.asyncio
async def test_a_full_folder_takes_no_more(library: OpenLibrary):
    sql = "select id, name from people order by id"
    async with open_with(library, exports={"folder_bytes": 10_000}) as (_, client, folder):
        assert "TRUNCATED" not in await asked(client, "export", sql=sql, name="whole")
        assert "TRUNCATED" in await asked(client, "export", sql=sql, name="rest")
        assert "the export folder holds as much as it may" in await asked(
            client, "export", sql="select id from people", name="none"
        )
        assert 9_990 < sum(path.stat().st_size for path in folder.iterdir()) <= 10_000
        assert len(names_in(folder)) == 2


@pytest.mark.asyncio
async def test_parquet_reads_back_as_the_values_that_were_stored(library: OpenLibrary):
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra `parquet` is not installed")
    sql = """
    select 1::smallint as s, -2147483648 as i, 9223372036854775807 as b, 1.5::real as r, 'NaN'::float8 as d, total, id * 1.0 as n,
        cast(id as numeric(40, 2)) as wide, true as t, '2026-02-28'::date as day, '2026-01-01 10:00:00.000001'::timestamp as at,
        '2026-01-01 10:00:00+05:30'::timestamptz as tz, '\\x00ff'::bytea as bytes,
        'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid as u,
        array[1, 2] as a, '{"k": 1}'::jsonb as j, '' as empty, note
    from orders where id = 1
    union all select null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null
    """
    async with open_with(library) as (_, client, _):
        path = path_of(await asked(client, "export", sql=sql, name="types", format="parquet"))
        own = path_of(await asked(client, "export", sql="select id, total from orders order by id", name="x", format="parquet"))
        none = path_of(await asked(client, "export", sql="select id from orders where false", name="x", format="parquet"))
        wrong = await asked(client, "export", sql="select 'infinity'::date as day", name="x", format="parquet")
        twice = await asked(client, "export", sql="select 1 as a, 2 as a", name="x", format="parquet")
    assert path.suffix == ".parquet"
    first, nulls = parquet.read_table(path).to_pylist()
    assert set(nulls.values()) == {None}
    assert math.isnan(first.pop("d"))
    assert first == {
        "s": 1, "i": -2147483648, "b": 9223372036854775807, "r": 1.5, "total": "1.50", "n": "1.0", "wide": "1.00", "t": True,
        "day": date(2026, 2, 28), "at": datetime(2026, 1, 1, 10, 0, 0, 1),  # noqa: DTZ001  it has none
        "tz": datetime(2026, 1, 1, 4, 30, tzinfo=UTC),
        "bytes": b"\x00\xff", "u": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "a": "{1,2}", "j": '{"k": 1}', "empty": "", "note": "x",
    }  # fmt: skip
    table = parquet.read_table(own)
    assert str(table.schema.field("total").type) == "decimal128(10, 2)"
    assert table.to_pylist()[:2] == [{"id": 1, "total": Decimal("1.50")}, {"id": 2, "total": Decimal("2.50")}]
    assert table.num_rows == 600
    assert (parquet.read_table(none).num_rows, str(parquet.read_table(none).schema.field("id").type)) == (0, "int64")
    assert "column `day` holds a value" in wrong
    assert "infinity'" not in wrong
    assert "two columns have one name" in twice


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_million_rows_take_no_more_memory_than_a_few(library: OpenLibrary):
    sql = "select n, md5(n::text) as m from generate_series(1, 1000000) n"
    async with open_with(library) as (_, client, _):
        await asked(client, "export", sql=sql + " limit 20000", name="warm")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        exporting = asyncio.create_task(asked(client, "export", sql=sql, name="million"))
        answered = 0
        while not exporting.done():
            await asked(client, sql="select 1")
            answered += 1
        grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        path = path_of(await exporting)
    assert path.stat().st_size == sum(len(str(n)) for n in range(1, 1_000_001)) + 35 * 1_000_000 + 5
    assert grown_kib < 20_000
    assert answered > 20, "other calls were answered meanwhile"


@pytest.mark.asyncio
async def test_what_fails_or_is_cancelled_leaves_nothing(library: OpenLibrary):
    async with open_with(library, exports={"timeout_s": 1.0}) as (opened, client, folder):
        folder.mkdir(parents=True, mode=0o700)
        for sql, said in {
            "select 1 / (900 - id) from people order by id": "division by zero",
            "select repeat('x', 1000001) as long": "column `long` holds a value longer than 1,000,000 characters",
            "select count(*) from generate_series(1, 1000000) a, generate_series(1, 1000000) b": "timeout",
        }.items():
            assert said in await asked(client, "export", sql=sql, name="x")
        call = asyncio.create_task(asked(client, "export", sql="select generate_series(1, 100000000) as n", name="x"))
        await until(lambda: bool(names_in(folder)))
        call.cancel()
        await until(lambda: not names_in(folder))
        site = opened.site
    ends = [r["status"] for r in await site.records() if r["kind"] == "o"]
    assert ends == ["error", "error", "error", "cancelled"]


@pytest.mark.asyncio
@pytest.mark.parametrize("step", ["link", "fsync", "unlink"])
async def test_a_call_that_is_cancelled_as_its_file_appears_leaves_none(
    library: OpenLibrary, monkeypatch: pytest.MonkeyPatch, step: str
):
    done, loop = getattr(os, step), asyncio.get_running_loop()

    async with open_with(library) as (opened, _, folder), opened.house.datasources["shop"].read(ReadLimits(10, 10, 1000)) as reader:
        stream = await reader.stream(Statement("SELECT 1 AS n"))
        bounds = Bounds(rows=10, bytes=10_000, folder_bytes=10_000)
        writing = asyncio.create_task(export(stream, folder, name="x", format_="csv", declared=[None], bounds=bounds))

        def cancelling(*args: Any, **kwargs: Any) -> None:
            loop.call_soon_threadsafe(writing.cancel)
            done(*args, **kwargs)

        monkeypatch.setattr(os, step, cancelling)
        with pytest.raises(asyncio.CancelledError):
            await writing
        monkeypatch.undo()
        assert names_in(folder) == []


@pytest.mark.asyncio
async def test_what_a_killed_writer_left_goes_with_the_next_export_and_nothing_else(library: OpenLibrary):
    async with open_with(library) as (_, client, folder):
        folder.mkdir(parents=True, mode=0o700)
        left, other, written = folder / f".{'a' * 32}.part", folder / ".b.part", folder / f".{'c' * 32}.part"
        for path in (left, other, written):
            path.write_text("half")

        with written.open() as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            await asked(client, "export", sql="select 1 as n", name="x")
        assert (left.exists(), other.exists(), written.exists()) == (False, True, True)


@pytest.mark.asyncio
async def test_no_name_leaves_the_folder(library: OpenLibrary):
    names = (
        "../x",
        "/etc/cron.d/x",
        "a/b",
        "",
        ".",
        "..",
        ".x",
        "a.b",
        "a\n",
        "a\0b",
        "x" * 65,
        "é",
        "$(id)",
        "a b",
        "a'; drop table people",
    )
    async with open_with(library) as (_, client, folder):
        for name in names:
            assert (await asked(client, "export", sql="select 1", name=name)).startswith("invalid_arguments: `name`"), name
        assert not folder.exists()
        assert "invalid_arguments" in await asked(client, "export", sql="select 1", name="x", format="../csv")
        assert "invalid_arguments" in await asked(client, "export", sql="select 1", name="x", directory="x")


@pytest.mark.asyncio
async def test_links_and_folders_of_others_are_not_written_through(library: OpenLibrary, tmp_path: Path):
    async with open_with(library) as (_, client, folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir(mode=0o700)
        folder.symlink_to(elsewhere)
        assert (await asked(client, "export", sql="select 1", name="x")).startswith("not_written: ")
        folder.unlink()
        folder.mkdir(mode=0o755)
        folder.chmod(0o755)
        assert "the export folder is open to others" in await asked(client, "export", sql="select 1", name="x")
        folder.chmod(0o700)
        victim = tmp_path / "victim"
        victim.write_text("precious")
        (folder / f".{'d' * 32}.part").symlink_to(victim)
        path = path_of(await asked(client, "export", sql="select 1 as n", name="x"))
        assert path.read_bytes() == b"n\r\n1\r\n"
        folder.rename(tmp_path / "moved")
        folder.write_text("a file")
        assert (await asked(client, "export", sql="select 1", name="x")).startswith("not_written: ")
    assert names_in(elsewhere) == []
    assert victim.read_text() == "precious"


@pytest.mark.asyncio
async def test_without_parquet_the_refusal_says_what_to_install(library: OpenLibrary, monkeypatch: pytest.MonkeyPatch):

    async with open_with(library) as (_, client, folder):
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        reply = await asked(client, "export", sql="select 1", name="x", format="parquet")
        assert "installs `ostiary[parquet]`" in reply
        assert names_in(folder) == []


def test_csv_is_read_back_by_another_reader():
    """RFC 4180: quotes doubled, line ends inside quotes kept."""
    sink = io.BytesIO()
    made = Csv([ColumnHead("a,b", "text"), ColumnHead("c", "text")], sink)  # type: ignore[arg-type]  # it writes as the file does
    rows = [('say "hi"', "two\r\nlines"), ("=1+1", "\u2028"), ("", "x")]
    made.write(rows)
    assert list(csv.reader(io.StringIO(sink.getvalue().decode(), newline=""))) == [["a,b", "c"], *map(list, rows)]
