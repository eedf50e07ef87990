"""How many calls a second the audit log records, and what an intent waits for: `python bench/audit_writer.py`.

Starts a PostgreSQL of its own with fsync on. Open loop: calls arrive at a fixed rate
whether or not earlier ones are done, as they do in life. Closed loop: each of N agents
waits for its own call. Beside both stands what one fdatasync of the same disk takes,
because that is what every durable record waits for.
"""

import asyncio
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from uuid import uuid4

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from fix_audit import DONE, AuditLog, audit_log_at
from fix_postgres import new_server, short_directory
from rich.console import Console
from rich.table import Table

from ostiary.audit.record import Entry
from ostiary.audit.recorder import Recorder, RecordingFailed
from ostiary_tools.control.migrate import migrate

RATE = 12_000
SECONDS = 5
SQL = "select id, total from orders where customer_id = $1 and created_at > $2 order by created_at desc limit 50"
RULES, HASH = ("analyst.read",), "a" * 64


def fdatasync_ms(folder: Path) -> list[float]:
    """300 small durable writes."""
    took = []
    with (folder / "probe").open("wb", buffering=0) as file:
        for _ in range(300):
            file.write(bytes(4096))
            start = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append((time.perf_counter() - start) * 1000)
    return took


async def call(recorder: Recorder, waits: list[float], due: float) -> None:
    """One call; its intent's wait counts from when it was due."""
    ticket = await recorder.intend(
        Entry(uuid4(), "agent-7", ("analyst",), "stdio", "tool", "query", {"sql": SQL}, "permit", RULES, HASH)
    )
    waits.append((time.perf_counter() - due) * 1000)
    await recorder.conclude(ticket, DONE)


async def open_loop(recorder: Recorder) -> tuple[float, list[float], int]:
    """Achieved calls a second, waits of intents in ms, calls refused."""
    waits: list[float] = []
    running: set[asyncio.Task[None]] = set()
    refused = 0

    def ended(task: "asyncio.Task[None]") -> None:
        nonlocal refused
        running.discard(task)
        refused += isinstance(task.exception(), RecordingFailed)

    start = time.perf_counter()
    made = 0
    while made < RATE * SECONDS:
        due = min(int((time.perf_counter() - start) * RATE), RATE * SECONDS)
        for number in range(made, due):
            task = asyncio.create_task(call(recorder, waits, start + number / RATE))
            running.add(task)
            task.add_done_callback(ended)
        made = due
        await asyncio.sleep(0.0005)
    await asyncio.gather(*running, return_exceptions=True)
    return len(waits) / (time.perf_counter() - start), waits, refused


async def closed_loop(recorder: Recorder, agents: int) -> tuple[float, list[float], int]:
    """The same for agents that each wait for their own."""
    waits: list[float] = []
    end = time.perf_counter() + SECONDS

    async def agent() -> None:
        while (now := time.perf_counter()) < end:
            await call(recorder, waits, now)

    start = time.perf_counter()
    await asyncio.gather(*(agent() for _ in range(agents)))
    return len(waits) / (time.perf_counter() - start), waits, 0


def row(name: str, measured: tuple[float, list[float], int]) -> tuple[str, ...]:
    """One line of the table."""
    rate, waits, refused = measured
    cut = statistics.quantiles(waits, n=100)
    return name, f"{rate:,.0f}", f"{cut[49]:.2f}", f"{cut[94]:.2f}", f"{cut[98]:.2f}", str(refused)


async def measure(log: AuditLog) -> None:
    """Print the table."""
    await migrate(log.place.admin_dsn)
    table = Table(title="audit writer: intent + outcome, intent durable (fsync on)")
    for head in ("load", "pairs/s", "intent p50 ms", "p95", "p99", "refused"):
        table.add_column(head, justify="right")
    before = fdatasync_ms(log.server.root)
    async with log.recording() as recorder:
        await closed_loop(recorder, 16)  # warm
        table.add_row(*row(f"open loop {RATE:,}/s", await open_loop(recorder)))
        for agents in (1, 16, 64, 256):
            table.add_row(*row(f"closed loop, {agents} agents", await closed_loop(recorder, agents)))
    after = fdatasync_ms(log.server.root)
    Console().print(table)
    print(f"fdatasync p50: {statistics.median(before):.3f} ms before, {statistics.median(after):.3f} ms after")
    print((await log.verify()).sentence())


def main() -> None:
    """Everything in temporary directories."""
    root = short_directory()
    keys = Path(tempfile.mkdtemp())
    server = new_server(root)
    server.start()
    try:
        asyncio.run(measure(audit_log_at(server, "postgres", keys)))
    finally:
        server.stop()
        shutil.rmtree(root)
        shutil.rmtree(keys)


if __name__ == "__main__":
    main()
