"""Kill, cut and fill what is under the audit log: nothing acknowledged is lost, nothing goes on unrecorded."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from fix_audit import DONE, AuditLog, audit_log_at, entry
from fix_disk import small_file_system
from fix_postgres import PostgresServer, new_server, short_directory
from fix_waiting import until

from ostiary.audit.recorder import Recorder, RecordingFailed
from ostiary_tools.control.migrate import migrate

pytestmark = pytest.mark.fault

AGENTS = 64


@pytest.fixture
def durable_server() -> Iterator[PostgresServer]:
    """A server of the test's own that syncs."""
    root = short_directory()
    server = new_server(root)
    server.start()
    yield server
    server.stop("immediate")
    shutil.rmtree(root, ignore_errors=True)


async def agent(recorder: Recorder, acknowledged: list[UUID]) -> None:
    """Call until a call is refused; remember what was acknowledged."""
    with contextlib.suppress(RecordingFailed):
        while True:
            call = entry()
            ticket = await recorder.intend(call)
            acknowledged.append(call.call_id)
            await recorder.conclude(ticket, DONE)


async def lost(log: AuditLog, acknowledged: list[UUID]) -> set[UUID]:
    """Acknowledged intents that are not in the table."""
    return set(acknowledged) - {row["call_id"] for row in await log.fetch("SELECT call_id FROM audit.log WHERE kind = 'i'")}


@pytest.mark.asyncio
async def test_no_acknowledged_intent_is_lost_when_the_database_is_killed(durable_server: PostgresServer, tmp_path: Path) -> None:
    log = audit_log_at(durable_server, "postgres", tmp_path)
    await migrate(log.place.admin_dsn)
    acknowledged: list[UUID] = []
    async with log.recording() as recorder:
        async with asyncio.TaskGroup() as agents:
            tasks = [agents.create_task(agent(recorder, acknowledged)) for _ in range(AGENTS)]
            await until(lambda: len(acknowledged) >= 5_000)
            backends = await log.fetch("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'")
            for pid in [durable_server.postmaster(), *(row["pid"] for row in backends)]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        assert all(task.done() for task in tasks)  # every agent was refused: none ran on unrecorded
        with pytest.raises(RecordingFailed):
            await recorder.intend(entry())
        await asyncio.to_thread(restart, durable_server)
        await until(lambda: recorder.state().recording, seconds=60)
        await recorder.conclude(await recorder.intend(entry()), DONE)
        assert await lost(log, acknowledged) == set()
    report = await log.verify()
    assert (report.exit_code, report.findings) == (0, ())


def restart(server: PostgresServer) -> None:
    """Start after a kill; the kernel may need a moment to bury the old processes."""
    for _ in range(50):
        with contextlib.suppress(subprocess.CalledProcessError):
            server.start()
            return
    raise AssertionError((server.root / "log").read_text()[-2000:])


CHILD = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from fix_audit import DONE, entry
from ostiary.audit.recorder import recording

async def agent(recorder):
    while True:
        call = entry()
        ticket = await recorder.intend(call)
        print(call.call_id, flush=True)
        await recorder.conclude(ticket, DONE)

async def main():
    folder = Path(sys.argv[3])
    keys = {"private_key": folder / "audit.key", "public_key": folder / "audit.pub"}
    async with recording(sys.argv[2], **keys, anchor=folder / "anchors", facts={}) as r:
        await asyncio.gather(*(agent(r) for _ in range(64)))

asyncio.run(main())
"""


@pytest.mark.asyncio
async def test_no_acknowledged_intent_is_lost_when_the_server_process_is_killed(
    durable_server: PostgresServer, tmp_path: Path
) -> None:
    log = audit_log_at(durable_server, "postgres", tmp_path)
    await migrate(log.place.admin_dsn)
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        CHILD,
        str(Path(__file__).parent.parent),
        log.writer_dsn,
        str(tmp_path),
        stdout=asyncio.subprocess.PIPE,
    )
    assert child.stdout is not None
    lines = [await child.stdout.readline() for _ in range(3_000)]
    child.kill()
    lines += (await child.stdout.read()).splitlines()
    await child.wait()
    acknowledged = [UUID(line.decode().strip()) for line in lines if len(line.strip()) == 36]
    async with log.recording() as recorder:
        assert recorder.state().stream == 0  # the lock died with the process
    assert await lost(log, acknowledged) == set()
    ends = await log.fetch("SELECT kind, count(*) FROM audit.log WHERE kind IN ('i', 'o') GROUP BY kind ORDER BY kind")
    assert ends[0]["count"] == ends[1]["count"]  # each intent the dead process left open was ended as `unknown`
    assert (await log.verify()).exit_code == 0


@pytest.fixture
def small_disk() -> Iterator[Path]:
    with small_file_system("160m") as directory:
        yield directory


@pytest.mark.asyncio
async def test_a_full_disk_refuses_calls_and_loses_nothing(small_disk: Path, tmp_path: Path) -> None:
    server = new_server(
        small_disk, {"wal_level": "minimal", "max_wal_senders": "0", "min_wal_size": "32MB", "max_wal_size": "48MB"}
    )
    await asyncio.to_thread(server.start)
    try:
        log = audit_log_at(server, "postgres", tmp_path)
        await migrate(log.place.admin_dsn)
        acknowledged: list[UUID] = []
        async with log.recording() as recorder:
            recorder_ok = entry()
            await recorder.conclude(await recorder.intend(recorder_ok), DONE, durable=True)
            ballast = small_disk / "ballast"
            fill(ballast)
            async with asyncio.timeout(60):
                await asyncio.gather(*(filling(recorder, acknowledged) for _ in range(8)))
            with pytest.raises(RecordingFailed):
                await recorder.intend(entry(arguments={"sql": "x" * 500_000}))
            ballast.unlink()
            if not (server.data / "postmaster.pid").exists():
                await asyncio.to_thread(restart, server)
            async with asyncio.timeout(60):
                while True:
                    with contextlib.suppress(RecordingFailed):
                        await recorder.conclude(await recorder.intend(entry()), DONE, durable=True)
                        break
                    await asyncio.sleep(0.1)
            assert await lost(log, [*acknowledged, recorder_ok.call_id]) == set()
        assert (await log.verify()).exit_code == 0
    finally:
        server.stop("immediate")


def fill(path: Path) -> None:
    """Take all but a little of the disk."""
    free = shutil.disk_usage(path.parent).free
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free - 2 * 1024 * 1024)


async def filling(recorder: Recorder, acknowledged: list[UUID]) -> None:
    """Record large calls until one is refused."""
    with contextlib.suppress(RecordingFailed):
        while True:
            call = entry(arguments={"sql": os.urandom(100_000).hex()})
            ticket = await recorder.intend(call)
            acknowledged.append(call.call_id)
            await recorder.conclude(ticket, DONE)
