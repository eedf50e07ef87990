"""Agents that call at once over HTTP, and a bare SDK server under the same load.

Each agent holds one connection open and calls again as soon as it is answered (2026-07-28, a raw socket: the SDK's
client would cost more than the server). The contestants take turns of some seconds, so that a slow minute slows all
alike. What is compared is the CPU that the server's own processes take per call, PostgreSQL's not among it:

- `bare`: a low-level SDK server behind the same uvicorn settings, whose tool does nothing (`floor_http.py`).
- `short`: the same server with the least that is durable and read-only, done by bare asyncpg: one group-committed COPY
  of a row of an audit record's size, and the statement in a READ ONLY transaction with its limits.
- `dialogue`: the same server with the whole dialogue that a statement has with the database under our guarantees, done by
  bare asyncpg and nothing of ours, message for message: a row before (awaited) and one after (not awaited), group-committed;
  BEGIN with the limits; the statement prepared within the bounds on rows and width, so that its tables are locked; the
  question whether these are still those it was judged by; its run; ROLLBACK; DISCARD ALL.
- `whoami`: Ostiary without a statement. It is decided and recorded like every call, so its intent travels to the disk too.
- `query`: Ostiary's `query`, the same statement again and again, as in `query.py`.
- `query, new`: another literal each time, so that each is parsed and judged anew, twice, and the server is asked what it
  returns; `new dialogue` asks that too.

"`query` without the database" is `query - (dialogue - bare)`: what Ostiary computes itself (checks of the request,
identity, judging, the decision, the records' text and hashes, the shaping) and the protocol, and
its ratio is to `bare`. `dialogue - bare` is what a driver in Python costs for these messages whoever sends them. That we
send more of them than `short` is our choice, and what `query` costs with `short` taken instead stands beside it.

Memory is what the server's processes hold after a warm-up and after each minute since, whoever's turn it was; what
Python holds does not grow with calls (a slow test counts it), so what does is the allocator's.

    python bench/http_agents.py [--seconds 60] [--agents 64] [--turn 5] [--workers 1]
"""

import argparse
import asyncio
import json
import os
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
from rich.console import Console
from rich.table import Table

from ostiary_tools.embedded import attached, names

VERSION = "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": VERSION,
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
KNOWN = "select count(*) from categories"
WARM_UP_S = 2.0
MINUTE_S = 60.0


@dataclass
class Contestant:
    """One kind of call to one server, and what was seen of it."""

    name: str
    address: tuple[str, int]
    pid: int
    requests: Iterator[bytes]
    seconds: float = 0
    cpu: float = 0
    latencies: list[float] = field(default_factory=list)

    @property
    def cpu_ms(self) -> float:
        """CPU of the server for one call."""
        return self.cpu / len(self.latencies) * 1e3


def run(seconds: float, agents: int, turn: float, workers: int) -> None:
    """Measure in a throw-away installation."""
    home = Path(tempfile.mkdtemp(prefix="ostiary-bench-"))
    home.chmod(0o711)  # as root, the database's own user must reach its part
    try:
        asyncio.run(main(home, seconds, agents, turn, workers))
    finally:
        shutil.rmtree(home, ignore_errors=True)


async def main(home: Path, seconds: float, agents: int, turn: float, workers: int) -> None:
    """Set up, measure, print."""
    async with attached(home / "data", print, runtime_dir=home / "run") as cluster, AsyncExitStack() as stack:
        dsn = cluster.dsn(names.ADMIN, names.SHOP)
        connection = await asyncpg.connect(dsn)
        await connection.execute("create table floor (seq bigint, call uuid, body text, primary key (seq, call))")
        await connection.close()
        floor = await stack.enter_async_context(_server(str(Path(__file__).with_name("floor_http.py")), dsn, dsn, home=home))
        serve = ("-m", "ostiary", "serve", "--http", "--port", "0", "--workers", str(workers))
        ours = await stack.enter_async_context(_server(*serve, home=home))
        contestants = [
            Contestant("bare", *floor, _requests("bare", [{}])),
            Contestant("short", *floor, _requests("short", _statements())),
            Contestant("dialogue", *floor, _requests("dialogue", [{"sql": KNOWN}])),
            Contestant("new dialogue", *floor, _requests("new_dialogue", _statements())),
            Contestant("whoami", *ours, _requests("whoami", [{}])),
            Contestant("query", *ours, _requests("query", [{"sql": KNOWN}])),
            Contestant("query, new", *ours, _requests("query", _statements())),
        ]
        for contestant in contestants:
            await _turn(contestant, agents, WARM_UP_S)
            contestant.latencies.clear()
            contestant.seconds = contestant.cpu = 0
        pids = {"bare": floor[1], "Ostiary": ours[1]}
        memory = {name: [_memory(pid)] for name, pid in pids.items()}
        noted = time.perf_counter()
        for _ in range(max(1, round(seconds / turn))):
            for contestant in contestants:
                await _turn(contestant, agents, turn)
            if time.perf_counter() - noted >= MINUTE_S:
                noted = time.perf_counter()
                for name, pid in pids.items():
                    memory[name].append(_memory(pid))
    _print(contestants, agents, memory)


def _statements() -> list[dict[str, str]]:
    return [{"sql": f"select count(*) from categories where id <> {number}"} for number in range(5_000)]


def _requests(tool: str, arguments: Sequence[dict[str, str]]) -> Iterator[bytes]:
    return cycle([_request(tool, given) for given in arguments])


def _request(tool: str, arguments: dict[str, str]) -> bytes:
    call = {"name": tool, "arguments": arguments, "_meta": META}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call})
    return (
        "POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        "Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
        f"MCP-Protocol-Version: {VERSION}\r\nMCP-Method: tools/call\r\nMCP-Name: {tool}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


@asynccontextmanager
async def _server(*arguments: str, home: Path) -> AsyncIterator[tuple[tuple[str, int], int]]:
    """A server process: its address and its id."""
    places = {f"OSTIARY_HOME__{part.upper()}": str(home / part) for part in ("data", "state")}
    places["OSTIARY_HOME__RUNTIME"] = str(home / "run")
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, env={"PATH": os.environ["PATH"], **places}, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    while (found := re.search(r"http://[^/]+/mcp", (line := await process.stderr.readline()).decode())) is None:
        assert line, "the server ended"
    url = urlsplit(found[0])
    assert url.hostname is not None
    assert url.port is not None
    draining = asyncio.create_task(process.stderr.read())
    try:
        yield (url.hostname, url.port), process.pid
    finally:
        process.terminate()
        await process.wait()
        await draining


async def _turn(contestant: Contestant, agents: int, seconds: float) -> None:
    """Some seconds of all agents at once; a reply that is an error ends the measurement."""
    started, cpu = time.perf_counter(), _cpu(contestant.pid)
    until = started + seconds
    taken = await asyncio.gather(*(_agent(contestant, until) for _ in range(agents)))
    contestant.cpu += _cpu(contestant.pid) - cpu
    contestant.seconds += time.perf_counter() - started
    contestant.latencies += [latency for latencies in taken for latency in latencies]


async def _agent(contestant: Contestant, until: float) -> list[float]:
    reader, writer = await asyncio.open_connection(*contestant.address)
    taken = []
    while (started := time.perf_counter()) < until:
        writer.write(next(contestant.requests))
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        assert head.startswith(b"HTTP/1.1 200"), head
        assert length, head
        body = await reader.readexactly(int(length[1]))
        taken.append(time.perf_counter() - started)
        assert not re.search(rb'"isError":true|"error":', body), body
    writer.close()
    await writer.wait_closed()
    return taken


def _family(pid: int) -> Iterator[int]:
    """A process and those it started."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            yield from _family(int(child))


def _cpu(pid: int) -> float:
    """Seconds that the server's processes have computed."""
    spent = (Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split() for each in _family(pid))
    return sum(int(fields[11]) + int(fields[12]) for fields in spent) * TICK_S


def _memory(pid: int) -> int:
    """Bytes of the server's processes in memory."""
    return sum(int(Path(f"/proc/{each}/statm").read_text().split()[1]) for each in _family(pid)) * PAGE


def _print(contestants: Sequence[Contestant], agents: int, memory: dict[str, list[int]]) -> None:
    """`memory`: bytes of each server after the warm-up and after each minute."""
    by_name = {contestant.name: contestant for contestant in contestants}
    bare = by_name["bare"].cpu_ms
    title = f"{agents} agents over HTTP, {contestants[0].seconds:.0f} s each"
    table = Table("what", "calls", "calls/s", "p50 ms", "p99 ms", "CPU ms/call", "x bare", title=title)
    for each in contestants:
        cuts: Any = statistics.quantiles(each.latencies, n=100)
        numbers = (len(each.latencies) / each.seconds, cuts[49] * 1e3, cuts[98] * 1e3, each.cpu_ms, each.cpu_ms / bare)
        table.add_row(each.name, f"{len(each.latencies):,}", *(f"{number:.2f}" for number in numbers))
    console = Console(width=160)
    console.print(table)
    for query, floors in {"query": ("dialogue", "short"), "query, new": ("new dialogue", "short")}.items():
        for floor in floors:
            alone = by_name[query].cpu_ms - (by_name[floor].cpu_ms - bare)
            console.print(f"{query}, without the database as in `{floor}`: {alone:.2f} ms of CPU a call, {alone / bare:.2f} x bare")
    for name, sizes in memory.items():
        held = " ".join(f"{size / 1e6:.0f}" for size in sizes)
        console.print(f"memory of {name}, MB after the warm-up and each minute: {held}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="for each contestant")
    parser.add_argument("--agents", type=int, default=64)
    parser.add_argument("--turn", type=float, default=5, help="seconds of one turn")
    parser.add_argument("--workers", type=int, default=1, help="processes of Ostiary; the bare server is one")
    options = parser.parse_args()
    run(options.seconds, options.agents, options.turn, options.workers)
