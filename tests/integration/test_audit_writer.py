"""What the gate may rely on: durable before it returns, refused when it is not, nothing owed for ever."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from fix_audit import DONE, AuditLog, entry

from ostiary.audit import writer as writer_module
from ostiary.audit.record import Outcome, Status
from ostiary.audit.recorder import Recorder, RecordingFailed, Ticket
from ostiary_tools.control.journal import Journal

SESSIONS = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
    " WHERE application_name = 'ostiary audit writer' AND datname = current_database()"
)
ROWS = "SELECT seq, kind, call_id, body::json AS body FROM audit.log WHERE kind <> 'e' ORDER BY stream, seq"


async def records(log: AuditLog) -> list[tuple[str, dict[str, Any]]]:
    """Every record but events: its kind and its body."""
    return [(row["kind"].decode(), json.loads(row["body"])) for row in await log.fetch(ROWS)]


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    """Wait until it does, but not for ever."""
    async with asyncio.timeout(20):
        while not await holds():  # noqa: ASYNC110 - what is waited for happens in the server
            await asyncio.sleep(0.02)


async def works_again(recorder: Recorder) -> Ticket:
    """The first intent that is taken after a break."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await recorder.intend(entry())
            except RecordingFailed:
                await asyncio.sleep(0.02)


@pytest.mark.asyncio
async def test_an_intent_stands_in_the_table_when_it_returns(audit_log: AuditLog) -> None:
    call = entry(sql="select 1", obligations={"limit_rows": 10})
    async with audit_log.recording() as recorder:
        ticket = await recorder.intend(call)
        assert await records(audit_log) == [("i", json.loads(call.body()))]
        await recorder.conclude(ticket, DONE, durable=True)
        assert (await records(audit_log))[1:] == [
            (
                "o",
                {
                    "v": 1,
                    "intent": ticket.seq,
                    "agent": "ada",
                    "tool": "query",
                    "status": "ok",
                    "duration_us": 120,
                    "rows": 3,
                    "bytes": 90,
                },
            )
        ]


@pytest.mark.asyncio
async def test_an_outcome_that_was_only_accepted_is_there_after_the_end(audit_log: AuditLog) -> None:
    async with audit_log.recording() as recorder:
        await recorder.conclude(await recorder.intend(entry()), DONE)
    assert [kind for kind, _ in await records(audit_log)] == ["i", "o"]
    assert (await audit_log.verify()).exit_code == 0


@pytest.mark.asyncio
async def test_many_calls_at_once_make_one_chain(audit_log: AuditLog) -> None:
    async def call(recorder: Recorder) -> None:
        await recorder.conclude(await recorder.intend(entry()), DONE)

    async with audit_log.recording() as recorder:
        await asyncio.gather(*(call(recorder) for _ in range(500)))
    report = await audit_log.verify()
    assert (report.exit_code, report.records) == (0, 1002)


@pytest.mark.asyncio
async def test_a_cancelled_intent_ends_as_cancelled(audit_log: AuditLog) -> None:
    async with audit_log.recording() as recorder:
        task = asyncio.create_task(recorder.intend(entry()))
        await asyncio.sleep(0)  # the intent is in the writer's queue now
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert [(kind, body.get("status")) for kind, body in await records(audit_log)] == [("i", None), ("o", "cancelled")]


@pytest.mark.asyncio
async def test_what_postgresql_or_utf8_cannot_hold_is_kept_or_refused(audit_log: AuditLog) -> None:
    async with audit_log.recording() as recorder:
        await recorder.intend(entry(arguments={"sql": "a\x00b \x1b[31m ünï 🐘"}))
        for bad in ({"sql": "\ud800"}, {"sql": object()}, {"sql": "x" * (1 << 20)}):
            with pytest.raises(RecordingFailed):
                await recorder.intend(entry(arguments=bad))
        assert [body["arguments"] for _, body in await records(audit_log)] == [{"sql": "a\x00b \x1b[31m ünï 🐘"}]


@pytest.mark.asyncio
async def test_repeated_denials_are_counted_and_others_recorded(audit_log: AuditLog) -> None:
    denied = {"decision": "deny", "rules": ("analyst.no_salary",), "reason": "no"}
    async with audit_log.recording() as recorder:
        for _ in range(5):
            await recorder.refuse(entry(**denied))
        await recorder.refuse(entry(**denied, agent="bob"))
        await recorder.refuse(entry(**{**denied, "arguments": {"sql": "select 2"}}))
        assert [kind for kind, _ in await records(audit_log)] == ["d", "d", "d"]
    folded = await audit_log.fetch("SELECT body::json AS b FROM audit.log WHERE body LIKE '%denials_folded%'")
    assert [(json.loads(row["b"])["agent"], json.loads(row["b"])["count"]) for row in folded] == [("ada", 4)]


@pytest.mark.asyncio
async def test_a_full_queue_refuses_and_an_accepted_intent_may_always_end(
    audit_log: AuditLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "CAPACITY", 8)
    async with audit_log.recording() as recorder:
        tickets = [await recorder.intend(entry()) for _ in range(8)]
        with pytest.raises(RecordingFailed, match="queue is full"):
            await recorder.intend(entry())
        for ticket in tickets:
            await recorder.conclude(ticket, DONE, durable=True)
        await recorder.conclude(await recorder.intend(entry()), DONE)


@pytest.mark.asyncio
async def test_a_cut_connection_refuses_at_once_and_mends_itself_on_the_same_stream(audit_log: AuditLog) -> None:
    async with audit_log.recording() as recorder:
        before = await recorder.intend(entry())
        await audit_log.fetch(SESSIONS)
        after = await works_again(recorder)
        assert (before.stream, after.stream) == (0, 0)
        await recorder.conclude(before, DONE, durable=True)
        await recorder.conclude(after, DONE, durable=True)
    assert sorted(kind for kind, _ in await records(audit_log)) == ["i", "i", "o", "o"]
    assert (await audit_log.verify()).exit_code == 0


@pytest.mark.asyncio
@pytest.mark.parametrize("committed", [True, False])
async def test_a_connection_cut_in_the_middle_of_a_batch_is_settled_by_looking(
    audit_log: AuditLog, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    """Present in the table means acknowledged, absent means refused; nothing is written twice."""
    plain = Journal.append

    async def cut_once(journal: Journal, rows: Any) -> None:
        monkeypatch.setattr(Journal, "append", plain)
        if committed:
            await plain(journal, rows)
        await audit_log.fetch(SESSIONS)
        await plain(journal, rows) if not committed else await journal.head(0)

    async with audit_log.recording() as recorder:
        monkeypatch.setattr(Journal, "append", cut_once)
        call = entry()
        if committed:
            ticket = await recorder.intend(call)
            await recorder.conclude(ticket, DONE, durable=True)
        else:
            with pytest.raises(RecordingFailed):
                await recorder.intend(call)
            await works_again(recorder)
    found = await audit_log.fetch("SELECT count(*) FROM audit.log WHERE call_id = $1 AND kind = 'i'", call.call_id)
    assert found[0][0] == (1 if committed else 0)
    assert (await audit_log.verify()).exit_code == 0


@pytest.mark.asyncio
async def test_outcomes_wait_for_the_database_to_come_back(audit_log: AuditLog, monkeypatch: pytest.MonkeyPatch) -> None:
    async with audit_log.recording() as recorder:
        ticket = await recorder.intend(entry())
        await audit_log.fetch("ALTER ROLE ostiary_writer CONNECTION LIMIT 0")
        try:
            await audit_log.fetch(SESSIONS)
            await eventually(lambda: nothing_recorded(recorder))
            with pytest.raises(RecordingFailed):
                await recorder.conclude(ticket, Outcome(Status.ERROR, 7, error="timeout"))
            with pytest.raises(RecordingFailed):
                await recorder.intend(entry())
            with pytest.raises(RecordingFailed):
                await recorder.refuse(entry(decision="deny"))
        finally:
            await audit_log.fetch("ALTER ROLE ostiary_writer CONNECTION LIMIT -1")
        await works_again(recorder)
    assert [(k, b.get("error")) for k, b in await records(audit_log)][:2] == [("i", None), ("o", "timeout")]
    assert (await audit_log.verify()).exit_code == 0


async def nothing_recorded(recorder: Recorder) -> bool:
    return not recorder.state().recording


@pytest.mark.asyncio
async def test_a_month_without_a_partition_is_refused_in_words(audit_log: AuditLog) -> None:
    async with audit_log.recording() as recorder:
        first = await recorder.intend(entry())
        recorder._writer.extend((await audit_log.fetch("SELECT now()"))[0][0])
        with pytest.raises(RecordingFailed, match="no partition for"):
            await recorder.intend(entry())
        # It mends itself: partitions are made ahead when a lease is taken.
        await recorder.conclude(await works_again(recorder), DONE)
        await recorder.conclude(first, DONE)
    assert (await audit_log.verify()).exit_code == 0


@pytest.mark.asyncio
async def test_two_processes_have_two_streams(audit_log: AuditLog) -> None:
    async with audit_log.recording() as first, audit_log.recording() as second:
        tickets = await asyncio.gather(first.intend(entry()), second.intend(entry()))
        assert [ticket.stream for ticket in tickets] == [0, 1]
        for recorder, ticket in zip((first, second), tickets, strict=True):
            await recorder.conclude(ticket, DONE)
    report = await audit_log.verify()
    assert (report.exit_code, report.streams) == (0, 2)


@pytest.mark.asyncio
async def test_an_intent_left_open_gets_outcome_unknown_from_the_next_process(audit_log: AuditLog) -> None:
    async with audit_log.recording() as recorder:
        left = await recorder.intend(entry())
    async with audit_log.recording():
        pass
    found = await records(audit_log)
    assert found[1] == ("o", {"v": 1, "intent": left.seq, "agent": "ada", "tool": "query", "status": "unknown"})
    assert len(found) == 2
    assert (await audit_log.verify()).exit_code == 0


@pytest.mark.asyncio
async def test_a_running_process_ends_the_intents_of_a_dead_one(audit_log: AuditLog, monkeypatch: pytest.MonkeyPatch) -> None:
    from ostiary.audit import recorder as recorder_module

    monkeypatch.setattr(recorder_module, "ADOPT_S", 0.05)
    async with audit_log.recording() as dying, audit_log.recording() as living:
        assert living.state().stream == 1
        await dying.intend(entry())
        dying._writer.stop()
        await dying._writer.close()

        async def adopted() -> bool:
            return [k for k, _ in await records(audit_log)] == ["i", "o"]

        await eventually(adopted)
    assert (await records(audit_log))[1][1]["status"] == "unknown"


@pytest.mark.asyncio
async def test_continuing_a_stream_reads_nothing_before_its_checkpoint(audit_log: AuditLog) -> None:
    await audit_log.write(50)
    pages = []
    plain = Journal.tail

    def counted(journal: Journal, stream: int, after: int) -> Any:
        pages.append(after)
        return plain(journal, stream, after)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Journal, "tail", counted)
        await audit_log.write(1)
    assert pages == [102]


@pytest.mark.asyncio
async def test_a_stream_that_contradicts_its_anchor_is_left_alone_and_said_so(audit_log: AuditLog) -> None:
    await audit_log.write(5)
    await audit_log.tamper("UPDATE audit.log SET hash = sha256(hash) WHERE seq = 11; DELETE FROM audit.checkpoint")
    async with audit_log.recording() as recorder:
        ticket = await recorder.intend(entry())
        await recorder.conclude(ticket, DONE)
        assert ticket.stream == 1

        async def told() -> bool:
            return bool(await audit_log.fetch("SELECT 1 FROM audit.log WHERE body LIKE '%stream_suspect%'"))

        await eventually(told)
        assert any("stream 0 is not what its checkpoint" in problem for problem in recorder.state().problems)
    report = await audit_log.verify()
    assert {finding.stream for finding in report.findings} == {0}


@pytest.mark.asyncio
async def test_the_first_record_says_which_guards_hold(audit_log: AuditLog) -> None:
    await audit_log.write(1)
    first = (await audit_log.fetch("SELECT body::json AS b FROM audit.log ORDER BY seq LIMIT 1"))[0]["b"]
    assert json.loads(first) == {"v": 1, "event": "started", "version": "test", "shape_guarded": True, "ddl_guarded": True}


@pytest.mark.asyncio
async def test_the_signing_key_is_ours_alone_or_not_used(audit_log: AuditLog) -> None:
    from ostiary.audit.checkpoint import KeyUnusable

    await audit_log.write(1)
    key: Path = audit_log.place.private_key
    assert (await asyncio.to_thread(key.stat)).st_mode & 0o777 == 0o600
    await asyncio.to_thread(key.chmod, 0o640)
    with pytest.raises(KeyUnusable, match="0600"):
        await audit_log.write(1)


@pytest.mark.asyncio
async def test_no_database_at_the_start_is_told_at_once(audit_log: AuditLog, tmp_path: Path) -> None:
    from dataclasses import replace

    from fix_postgres import PostgresServer

    nowhere = PostgresServer(audit_log.server.binaries, tmp_path, None)
    with pytest.raises(RecordingFailed, match="no connection"):
        async with replace(audit_log, server=nowhere).recording():
            pass


def test_two_processes_that_start_together_make_one_key(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from ostiary.audit.checkpoint import load_signer

    with ThreadPoolExecutor(8) as pool:
        signers = list(pool.map(lambda _: load_signer(tmp_path / "k", tmp_path / "k.pub"), range(8)))
    assert len({signer.public for signer in signers}) == 1
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["k", "k.pub"]
