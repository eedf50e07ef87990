"""`ostiary audit open-epoch` is killed: either the epoch is open and all of before has ended, or nothing has happened."""

import asyncio
import os
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from fix_audit import AuditLog
from fix_waiting import until

from ostiary.audit.opening import standing

pytestmark = [pytest.mark.fault, pytest.mark.asyncio]

KILLS = 8
WAITS = (
    "INSERT INTO approvals.asked (id, about, agent, roles, tool, datasource, rules, people, question, shown, expires_at)"
    " VALUES ('k3v7qa2m', 'd', 'ada', '{}', 'query', '', '{}', 1, '', '', now() + '1 day')"
)


@pytest_asyncio.fixture
async def put_back(audit_log: AuditLog, tmp_path: Path) -> AuditLog:
    """A log that was put back, in which a call waits for people."""
    await audit_log.write(2)
    await audit_log.fetch(WAITS)
    then = audit_log.keep()
    await audit_log.write(3)
    audit_log.put_back(then)
    (tmp_path / "ostiary.toml").write_text(
        f'[home]\ndata = "{tmp_path / "data"}"\nstate = "{tmp_path}"\n'
        '[control]\ndsn = "env:AUDIT_WRITER"\nreader_dsn = "env:AUDIT_READER"\nadmin_dsn = "env:AUDIT_ADMIN"\n'
    )
    return audit_log


@asynccontextmanager
async def opening(log: AuditLog, folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """The command, as a person runs it."""
    secrets = {"AUDIT_WRITER": log.writer_dsn, "AUDIT_READER": log.place.reader_dsn, "AUDIT_ADMIN": log.place.admin_dsn}
    words = ("audit", "open-epoch", "--reason", "the disk failed", "--yes", "--config", str(folder / "ostiary.toml"))
    quiet = asyncio.subprocess.DEVNULL
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ostiary", *words, env={**os.environ, **secrets}, stdout=quiet, stderr=quiet
    )
    try:
        yield program
    finally:
        if program.returncode is None:
            program.kill()
        await program.wait()


async def opened(log: AuditLog) -> int:
    """Epochs."""
    return len(await log.fetch("SELECT FROM audit.epoch"))


async def test_killed_before_its_transaction_ends_it_has_ended_nothing_and_its_number_is_never_given(
    put_back: AuditLog, tmp_path: Path
):
    holder = await put_back.connect()
    async with holder.transaction():
        await holder.execute("LOCK TABLE audit.log IN ROW EXCLUSIVE MODE")
        async with opening(put_back, tmp_path) as program:

            async def waits() -> bool:
                return bool(await put_back.fetch("SELECT FROM pg_locks WHERE NOT granted AND relation = 'audit.log'::regclass"))

            await until(waits)
            assert "/epochs\\n1\\n" in put_back.place.anchor.read_text()
            program.kill()
            await program.wait()
    await holder.close()

    async def gone() -> bool:
        return not await put_back.fetch("SELECT FROM pg_stat_activity WHERE application_name = 'ostiary epoch'")

    await until(gone)
    assert (await opened(put_back), len(await put_back.fetch("SELECT FROM approvals.asked"))) == (0, 1)
    assert (await standing(put_back.place, [])).number == 2
    async with opening(put_back, tmp_path) as again:
        assert await again.wait() == 0
    assert (await opened(put_back), len(await put_back.fetch("SELECT FROM approvals.asked"))) == (1, 0)
    report = await put_back.verify()
    assert (report.exit_code, [one.number for one in report.epochs]) == (4, [2])


async def test_killed_at_any_moment_it_leaves_an_epoch_or_none_and_comes_to_one(put_back: AuditLog, tmp_path: Path):
    chance = random.Random(8)  # noqa: S311  for when to kill
    for _ in range(KILLS):
        before = await opened(put_back)
        async with opening(put_back, tmp_path) as program:
            try:
                async with asyncio.timeout(chance.uniform(0.3, 2.5)):
                    await program.wait()
            except TimeoutError:
                program.kill()
                await program.wait()
        waiting = len(await put_back.fetch("SELECT FROM approvals.asked"))
        assert (await opened(put_back), waiting) in ((before, 1 - before), (1, 0))
        assert not [one for one in (await put_back.verify()).findings if not one.short]
    if not await opened(put_back):
        async with opening(put_back, tmp_path) as last:
            assert await last.wait() == 0
    await put_back.write(1)
    report = await put_back.verify()
    assert (report.exit_code, len(report.epochs)) == (4, 1)
