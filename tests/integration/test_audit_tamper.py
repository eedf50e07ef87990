"""What a superuser can do to the log, and who notices: the chain alone, or the chain with an anchor outside the database."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from fix_audit import DONE, AuditLog, entry

from ostiary.audit.chain import Item, Place, link, microseconds
from ostiary.audit.checkpoint import load_signer
from ostiary.audit.fsck import Verification
from ostiary.audit.notes import Keys
from ostiary.audit.verify import verify_database
from ostiary_tools.control.history import history

SEQ = 20
"""A record in the middle of the log."""

BOTH_NOTICE = {
    "a body is changed": f"UPDATE audit.log SET body = replace(body, 'ada', 'eve') WHERE seq = {SEQ}",
    "a date is moved by a microsecond": f"UPDATE audit.log SET ts = ts + interval '1 microsecond' WHERE seq = {SEQ}",
    "a kind is changed": f"UPDATE audit.log SET kind = 'e' WHERE seq = {SEQ}",
    "a call id is changed": f"UPDATE audit.log SET call_id = gen_random_uuid() WHERE seq = {SEQ}",
    "a record is deleted": f"DELETE FROM audit.log WHERE seq = {SEQ}",
    "a record is deleted and the rest renumbered": f"""
        DELETE FROM audit.log WHERE seq = {SEQ};
        UPDATE audit.log SET seq = -seq WHERE seq > {SEQ}; UPDATE audit.log SET seq = -seq - 1 WHERE seq < 0""",
    "a record is inserted and the rest shifted": f"""
        UPDATE audit.log SET seq = -seq WHERE seq >= {SEQ}; UPDATE audit.log SET seq = -seq + 1 WHERE seq < 0;
        INSERT INTO audit.log SELECT stream, {SEQ}, ts, kind, gen_random_uuid(), body, hash FROM audit.log WHERE seq = {SEQ} - 1""",
    "two records are swapped": f"""
        UPDATE audit.log SET seq = -1 WHERE seq = {SEQ}; UPDATE audit.log SET seq = {SEQ} WHERE seq = {SEQ} + 1;
        UPDATE audit.log SET seq = {SEQ} + 1 WHERE seq = -1""",
    "a record is moved to another stream": f"UPDATE audit.log SET stream = 5 WHERE seq = {SEQ}",
    "the first records are deleted": "DELETE FROM audit.log WHERE seq <= 5",
}


async def chain_alone(log: AuditLog) -> list[str]:
    """The verifier without any checkpoint."""
    async with history(log.place.reader_dsn) as rows:
        found = Verification(str(await rows.installation()), Keys({}))
        for stream in await rows.streams():
            async for page in rows.records(stream):
                found.stream(stream).feed(
                    [(r.stream, r.seq, microseconds(r.ts), r.kind, r.call_id.bytes, r.body.encode(), r.hash) for r in page]
                )
    return [finding.what for finding in found.finish()]


@pytest.mark.asyncio
async def test_an_untouched_log_verifies(audit_log: AuditLog):
    await audit_log.write(20)
    report = await audit_log.verify()
    assert (report.exit_code, report.records, report.streams, report.findings) == (0, 42, 1, ())
    assert await chain_alone(audit_log) == []


@pytest.mark.asyncio
@pytest.mark.parametrize("attack", BOTH_NOTICE)
async def test_the_chain_alone_notices_when(audit_log: AuditLog, attack: str):
    await audit_log.write(20)
    await audit_log.tamper(BOTH_NOTICE[attack])
    assert await chain_alone(audit_log) != []
    report = await audit_log.verify()
    assert report.exit_code == 1
    assert report.findings[0].seq is not None


@pytest.mark.asyncio
async def test_the_changed_record_is_named_and_no_other(audit_log: AuditLog):
    await audit_log.write(20)
    await audit_log.tamper(BOTH_NOTICE["a body is changed"])
    assert {finding.seq for finding in (await audit_log.verify()).findings} == {SEQ}


@pytest.mark.asyncio
async def test_a_cut_end_is_noticed_by_the_anchor_and_not_by_the_chain(audit_log: AuditLog):
    await audit_log.write(20)
    await audit_log.tamper("DELETE FROM audit.log WHERE seq > 30; DELETE FROM audit.checkpoint; DELETE FROM audit.roster")
    assert await chain_alone(audit_log) == []
    report = await audit_log.verify()
    assert report.exit_code == 1
    assert "the end was cut off" in report.findings[0].what


async def rewrite(log: AuditLog, start: int) -> None:
    """Change record `start` and give every later one the hash that follows from it, as one who knows the chain."""
    rows = await log.fetch("SELECT * FROM audit.log ORDER BY seq")
    place = Place(0, start - 1, rows[start - 2]["hash"], 0)
    updates = []
    for row in rows[start - 1 :]:
        body = row["body"].replace('"ada"', '"eve"')
        made, place = link(place, [Item(row["kind"], row["call_id"], body, body.encode())], microseconds(row["ts"]))
        updates.append(f"UPDATE audit.log SET body = $b${body}$b$, hash = '\\x{made[0].hash.hex()}' WHERE seq = {row['seq']}")
    await log.tamper(";".join([*updates, "DELETE FROM audit.checkpoint; DELETE FROM audit.roster"]))


@pytest.mark.asyncio
@pytest.mark.parametrize("start", [2, SEQ])
async def test_a_rewritten_chain_is_noticed_by_the_anchor_and_not_by_the_chain(audit_log: AuditLog, start: int):
    await audit_log.write(20)
    await rewrite(audit_log, start)
    assert await chain_alone(audit_log) == []
    report = await audit_log.verify()
    assert report.exit_code == 1
    assert "are not those that the checkpoint" in report.findings[0].what


@pytest.mark.asyncio
async def test_a_dropped_stream_is_noticed_by_the_roster_of_another_host(audit_log: AuditLog):
    async with audit_log.recording() as first:
        await first.conclude(await first.intend(entry()), DONE, durable=True)
        elsewhere = replace(audit_log.place, anchor=audit_log.place.anchor.with_name("other-anchors"))
        other = replace(audit_log, place=elsewhere)
        await other.write(3)  # stream 1; this host's anchor never hears of it but through the roster
    await audit_log.write(1)
    anchored = [line for line in audit_log.place.anchor.read_text().splitlines() if "/1\\n" in line]
    assert anchored == []
    await audit_log.tamper("DELETE FROM audit.log WHERE stream = 1; DELETE FROM audit.checkpoint WHERE stream = 1")
    await audit_log.tamper("DELETE FROM audit.roster")
    assert await chain_alone(audit_log) == []
    report = await audit_log.verify()
    assert [(f.stream, f.seq) for f in report.findings] == [(1, 0)]


@pytest.mark.asyncio
async def test_an_anchor_signed_by_another_key_is_not_believed(audit_log: AuditLog, tmp_path: Path):
    await audit_log.write(3)
    other = tmp_path / "other"
    other.mkdir()
    load_signer(other / "key", other / "pub")
    report = await verify_database(audit_log.place.reader_dsn, other / "pub", audit_log.place.anchor)
    assert report.exit_code == 1
    assert "not signed by this key" in report.findings[0].what


@pytest.mark.asyncio
async def test_an_old_checkpoint_cannot_pose_as_a_seal(audit_log: AuditLog):
    """Else deleted records would look exported."""
    await audit_log.write(20)
    await audit_log.write(20)
    await audit_log.tamper(
        "INSERT INTO audit.seal SELECT stream, size, 'log_x', now(), now(), '', note, peaks"
        " FROM audit.checkpoint ORDER BY size LIMIT 1;"
        "DELETE FROM audit.log WHERE seq <= (SELECT min(size) FROM audit.checkpoint)"
    )
    report = await audit_log.verify()
    assert report.exit_code == 1
    assert report.findings[0].what == "a checkpoint stands where only a seal may"


@pytest.mark.asyncio
async def test_nothing_is_told_without_an_anchor_a_key_or_a_database(audit_log: AuditLog, tmp_path: Path):
    await audit_log.write(3)
    place = audit_log.place
    nowhere = place.reader_dsn.replace(str(audit_log.server.root), str(tmp_path))
    assert (await verify_database(place.reader_dsn, place.public_key, tmp_path / "none")).exit_code == 2
    assert (await verify_database(place.reader_dsn, tmp_path / "none", place.anchor)).exit_code == 2
    assert (await verify_database(nowhere, place.public_key, place.anchor)).exit_code == 2


@pytest.mark.asyncio
async def test_a_line_that_a_crash_cut_spoils_no_other_anchor(audit_log: AuditLog):
    await audit_log.write(3)
    with audit_log.place.anchor.open("a") as file:
        file.write('{"note": "ostiary/')
    await audit_log.write(3)
    report = await audit_log.verify()
    assert (report.exit_code, report.remarks) == (0, ("1 lines of the anchor are no checkpoints (a crash may cut one)",))


@pytest.mark.asyncio
async def test_known_gap_records_after_the_newest_anchor_can_be_cut(audit_log: AuditLog):
    """A known gap: the interval between anchors is the window, here one second or 1,000 records."""
    await audit_log.write(3)
    copy = audit_log.place.anchor.with_name("yesterday")
    shutil.copy(audit_log.place.anchor, copy)
    await audit_log.write(3)
    await audit_log.tamper(
        "DELETE FROM audit.log WHERE seq > 9; DELETE FROM audit.checkpoint WHERE size > 9; DELETE FROM audit.roster"
    )
    place = audit_log.place
    assert (await verify_database(place.reader_dsn, place.public_key, copy)).exit_code == 0
    assert (await audit_log.verify()).exit_code == 1


@pytest.mark.asyncio
async def test_known_gap_what_was_never_recorded_is_not_missed(audit_log: AuditLog):
    """A known gap: a call past the gate leaves nothing to verify; that there is no such road is the architecture's to prove."""
    await audit_log.write(3)
    await audit_log.fetch("SELECT 1")
    assert (await audit_log.verify()).exit_code == 0
