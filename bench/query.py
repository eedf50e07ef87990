"""One `query` over stdio beside its floor, and what a large result over HTTP costs everyone else.

Short rounds take turns and each is compared with the floor of its own round, so that a slow second slows all alike:
Ostiary's `query`, the same under a term of cost (each statement is planned once more),
a bare SDK tool that does the same durable work (`floor_server.py`, on asyncio's own loop as
the SDK starts one, and on uvloop as ours), the bare SDK tool alone, and raw asyncpg.

For the large result one server answers two agents at once, each a process of its own: one asks for
all rows of a large table again and again, the other is measured.

    python bench/query.py [--calls 50] [--rounds 30]
"""

import argparse
import asyncio
import os
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import MappingProxyType

import asyncpg
from mcp import Client, StdioServerParameters
from rich.console import Console
from rich.table import Table

from ostiary_tools.embedded import attached, names

SQL = "select count(*) from categories"
BIG = "select * from bench_big"
Timed = Callable[[], Awaitable[object]]


def run(calls: int, rounds: int) -> None:
    """Measure in a throw-away installation."""
    home = Path(tempfile.mkdtemp(prefix="ostiary-bench-"))
    home.chmod(0o711)  # as root, the database's own user must reach its part
    try:
        asyncio.run(main(home, calls, rounds))
    finally:
        shutil.rmtree(home, ignore_errors=True)


async def main(home: Path, calls: int, rounds: int) -> None:
    """Set up, measure, print."""
    async with attached(home / "data", print, runtime_dir=home / "run") as cluster, AsyncExitStack() as stack:
        await _prepare(cluster.dsn(names.ADMIN, names.SHOP))
        ostiary = await stack.enter_async_context(Client(_ostiary(home)))
        gated = await stack.enter_async_context(Client(_ostiary(home, _thrifty(home))))
        dsn = cluster.dsn(names.ADMIN, names.SHOP)
        floor = await stack.enter_async_context(Client(_floor(dsn)))
        faster = await stack.enter_async_context(Client(_floor(dsn, "uvloop")))
        raw = await asyncpg.connect(cluster.dsn(names.AGENT, names.SHOP))
        stack.push_async_callback(raw.close)
        await _latency((ostiary, gated, floor, faster), raw, calls, rounds)
    async with attached(home / "data", print, runtime_dir=home / "run"), _serving(home) as url, Client(url) as ostiary:
        await _large(ostiary, url, calls, rounds)


async def _prepare(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute("create table floor (seq bigint, call uuid, body text, primary key (seq, call))")
    await connection.execute(
        "create table bench_big as select g as id, md5(g::text) as name, g * 1.25 as price, now() as at, 'x' as flag "
        "from generate_series(1, 200000) g; grant select on bench_big to ostiary_agent; analyze bench_big"
    )
    await connection.close()


def _thrifty(home: Path) -> dict[str, str]:
    """A role like the analyst with both terms of cost, high enough to refuse nothing here."""
    policies = home / "policies"
    policies.mkdir()
    (policies / "thrifty.cedar").write_text(
        '@id("thrifty") @max_cost("1e9") @max_rows_scanned("1000000000") '
        'permit (principal in Role::"analyst", action == Action::"call", resource == Tool::"query");'
    )
    return {"OSTIARY_POLICY__DIRECTORY": str(policies)}


def _ostiary(home: Path, more: Mapping[str, str] = MappingProxyType({})) -> StdioServerParameters:
    places = {f"OSTIARY_HOME__{part.upper()}": str(home / part) for part in ("data", "state")}
    places["OSTIARY_HOME__RUNTIME"] = str(home / "run")
    return StdioServerParameters(
        command=sys.executable, args=["-m", "ostiary", "serve"], env={"PATH": os.environ["PATH"], **places, **more}
    )


def _floor(dsn: str, *loop: str) -> StdioServerParameters:
    server = str(Path(__file__).with_name("floor_server.py"))
    return StdioServerParameters(command=sys.executable, args=[server, dsn, dsn, *loop], env={"PATH": os.environ["PATH"]})


async def _latency(clients: tuple[Client, Client, Client, Client], raw: asyncpg.Connection, calls: int, rounds: int) -> None:
    ostiary, gated, floor, faster = clients
    contestants: dict[str, Timed] = {
        "ostiary query": lambda: ostiary.call_tool("query", {"sql": SQL}),
        "ostiary query, a term of cost in force": lambda: gated.call_tool("query", {"sql": SQL}),
        "floor: bare SDK tool + durable COPY + READ ONLY transaction": lambda: floor.call_tool("query", {"sql": SQL}),
        "the floor on uvloop": lambda: faster.call_tool("query", {"sql": SQL}),
        "bare SDK tool": lambda: floor.call_tool("bare", {}),
        "raw asyncpg": lambda: raw.fetch(SQL),
    }
    taken: dict[str, list[list[float]]] = {name: [] for name in contestants}
    for call in contestants.values():
        await _times(call, 30)
    for _ in range(rounds):
        for name, call in contestants.items():
            taken[name].append(await _times(call, calls))
    table = Table("what", "median ms", "p95 ms", "x floor", title=f"{SQL}: {rounds} rounds of {calls} calls each, one at a time")
    floors = [statistics.median(times) for times in taken["floor: bare SDK tool + durable COPY + READ ONLY transaction"]]
    for name, per_round in taken.items():
        times = [time for times in per_round for time in times]
        ratio = statistics.median(statistics.median(times) / floor for times, floor in zip(per_round, floors, strict=True))
        table.add_row(name, f"{statistics.median(times) * 1e3:.2f}", f"{_percentile(times, 95) * 1e3:.2f}", f"{ratio:.2f}")
    Console().print(table)


@asynccontextmanager
async def _serving(home: Path) -> AsyncIterator[str]:
    """Ostiary over HTTP: its address."""
    parameters = _ostiary(home)
    process = await asyncio.create_subprocess_exec(
        parameters.command, *parameters.args, "--http", "--port", "0", env=parameters.env, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    while (found := re.search(r"http://[^/]+/mcp", (line := await process.stderr.readline()).decode())) is None:
        assert line, "the server ended"
    draining = asyncio.create_task(process.stderr.read())
    try:
        yield found[0]
    finally:
        process.terminate()
        await process.wait()
        await draining


async def _large(ostiary: Client, url: str, calls: int, rounds: int) -> None:
    quiet: list[float] = []
    busy: list[float] = []
    took: list[float] = []
    sizes: list[int] = []
    await _times(lambda: ostiary.call_tool("query", {"sql": SQL}), 30)
    for _ in range(rounds):
        quiet += await _times(lambda: ostiary.call_tool("query", {"sql": SQL}), calls)
        reader = await asyncio.create_subprocess_exec(
            sys.executable, __file__, "--reader", url, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        assert reader.stdout is not None
        await reader.stdout.readline()  # it has its first reply and goes on
        busy += await _times(lambda: ostiary.call_tool("query", {"sql": SQL}), calls)
        said, _ = await reader.communicate(b"")  # which ends its input
        for line in said.decode().splitlines():
            seconds, size = line.split()
            took.append(float(seconds))
            sizes.append(int(size))
    table = Table("200,000 rows, SELECT *", "value", title="a large result, and another agent of the same process meanwhile")
    table.add_row("characters of the reply", f"{max(sizes):,}")
    table.add_row("median s", f"{statistics.median(took):.3f}")
    table.add_row("other agent's p99 quiet, ms", f"{_percentile(quiet, 99) * 1e3:.2f}")
    table.add_row("other agent's p99 meanwhile, ms", f"{_percentile(busy, 99) * 1e3:.2f}")
    table.add_row("ratio", f"{_percentile(busy, 99) / _percentile(quiet, 99):.2f}")
    Console().print(table)


async def _read(url: str) -> None:
    """Ask for the large result until standard input ends; say how long each reply took and how long it was."""
    ended = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
    async with Client(url) as agent:
        while not ended.done():
            started = time.perf_counter()
            reply = await agent.call_tool("query", {"sql": BIG})
            said = reply.content[0].text  # type: ignore[union-attr]  # our replies are text
            print(f"{time.perf_counter() - started} {len(said)}", flush=True)


async def _times(call: Timed, count: int) -> list[float]:
    taken = []
    for _ in range(count):
        started = time.perf_counter()
        await call()
        taken.append(time.perf_counter() - started)
    return taken


def _percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--reader", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.reader:
        asyncio.run(_read(options.reader))
    else:
        run(options.calls, options.rounds)
