"""The control database is put back to an earlier moment: nothing goes on unseen, a person decides, the loss is told ever after."""

import json
import shutil
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest
from fix_audit import DONE, AuditLog, entry
from fix_waiting import until

from ostiary.audit import recorder as recorder_module
from ostiary.audit.anchor import append_notes
from ostiary.audit.checkpoint import load_signer
from ostiary.audit.export import export_log
from ostiary.audit.opening import epoch_note, opened, standing
from ostiary.audit.proof import check_proof, prove_record
from ostiary.audit.reader import words
from ostiary.audit.recorder import Recorder
from ostiary.audit.verify import verify_export
from ostiary.audit.writer import RecordingFailed, Undecided
from ostiary_tools.control.connect import Rejected
from ostiary_tools.control.epochs import Ended

WHO, WHY = "olga", "the disk failed"


async def call(recorder: Recorder) -> int:
    """A call that is durable, with its end; the stream it stands in."""
    ticket = await recorder.intend(entry())
    await recorder.conclude(ticket, DONE, durable=True)
    return ticket.stream


async def put_back(log: AuditLog, kept: int = 2, lost: int = 3) -> str:
    """Some calls, a copy, some more calls, and the copy in the place of it all."""
    await log.write(kept)
    then = log.keep()
    await log.write(lost)
    log.put_back(then)
    return then


async def open_epoch(log: AuditLog, *copies: Path) -> Ended:
    """As the command does, without its first records."""
    return await opened(log.place, await standing(log.place, copies), WHO, WHY)


async def refused(log: AuditLog) -> str:
    """Why nothing is recorded."""
    with pytest.raises(Undecided) as caught:
        async with log.recording():
            pass
    return str(caught.value)


@pytest.mark.asyncio
async def test_a_log_that_was_put_back_takes_no_record_before_a_person_opens_an_epoch(audit_log: AuditLog):
    await put_back(audit_log)
    why = await refused(audit_log)
    assert "stream 0 ends at 6, and 14 records were signed for" in why
    assert "rule audit_put_back" in why
    assert "`ostiary audit open-epoch`" in why
    before = await audit_log.verify()
    assert (before.exit_code, [finding.short for finding in before.findings]) == (1, [True])
    await open_epoch(audit_log)
    async with audit_log.recording() as recorder:
        assert (await call(recorder), recorder.epoch) == (1024, 1)
    after = await audit_log.verify()
    assert (after.exit_code, after.verdict, after.findings) == (4, "put back", ())
    told = words(after)
    assert "the log was put back once, and what was lost is on record" in told
    assert 'by "olga", because "the disk failed": lost are at least records 7 to 14 of stream 0' in told
    assert not (await standing(audit_log.place, [])).known, "there is nothing left to decide"


@pytest.mark.slow
@pytest.mark.asyncio
async def test_the_first_record_of_an_epoch_says_where_every_stream_ended_and_what_was_known(audit_log: AuditLog):
    await put_back(audit_log)
    last = await audit_log.fetch("SELECT hash FROM audit.log WHERE seq = 6")
    await open_epoch(audit_log)
    rows = await audit_log.fetch("SELECT * FROM audit.log WHERE stream = 1024")
    body = json.loads(rows[0]["body"])
    said = {name: body[name] for name in ("event", "epoch", "person", "reason", "lost")}
    lost = [{"stream": 0, "after": 6, "up_to": 14}]
    assert said == {"event": "epoch_opened", "epoch": 1, "person": WHO, "reason": WHY, "lost": lost}
    stands = await standing(audit_log.place, [])
    assert (stands.epoch.ends[0].hash, stands.epoch.ends[0].known) == (last[0]["hash"], 14)


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_process_under_which_the_log_is_put_back_refuses_and_goes_on_with_the_epoch(
    audit_log: AuditLog, monkeypatch: pytest.MonkeyPatch
):
    """Only its own memory knows what was lost: none of it was anchored."""
    await audit_log.write(1)
    then = audit_log.keep()
    monkeypatch.setattr(recorder_module, "INTERVAL_S", 3600.0)
    async with audit_log.recording() as recorder:
        await call(recorder)
        audit_log.put_back(then)

        async def undecided() -> bool:
            try:
                await recorder.intend(entry())
            except Undecided:
                return True
            except RecordingFailed:
                return False
            return False

        await until(undecided)
        assert "stream 0 ends at 4, and 7 records were signed for" in recorder.state().problems[0]
        await open_epoch(audit_log)

        async def recorded() -> bool:
            with suppress(RecordingFailed):
                return await call(recorder) == 1024
            return False

        await until(recorded)
    assert (await audit_log.verify()).exit_code == 4


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_put_back_log_is_noticed_within_a_round_by_who_has_another_anchor_file(
    audit_log: AuditLog, monkeypatch: pytest.MonkeyPatch
):
    """Another host's server, which was new when the log was put back, has nothing of its own to know it by."""
    monkeypatch.setattr(recorder_module, "ADOPT_S", 0.05)
    await put_back(audit_log)
    elsewhere = replace(audit_log.place, anchor=audit_log.place.anchor.with_name("other-anchors"))
    other = replace(audit_log, place=elsewhere)
    async with other.recording() as recorder:
        await refused(audit_log)

        async def undecided() -> bool:
            return any("14 records were signed for" in problem for problem in recorder.state().problems[:1])

        await until(undecided)
        with pytest.raises(Undecided):
            await recorder.intend(entry())


@pytest.mark.slow
@pytest.mark.asyncio
async def test_no_epoch_is_opened_while_a_process_records(audit_log: AuditLog):
    await put_back(audit_log)
    elsewhere = replace(audit_log.place, anchor=audit_log.place.anchor.with_name("other-anchors"))
    async with replace(audit_log, place=elsewhere).recording():
        with pytest.raises(Rejected, match="a process still records in it"):
            await open_epoch(audit_log)
    assert await audit_log.fetch("SELECT FROM audit.epoch") == []


@pytest.mark.slow
@pytest.mark.asyncio
async def test_of_two_who_open_an_epoch_at_once_one_does(audit_log: AuditLog):
    await put_back(audit_log)
    first, second = await standing(audit_log.place, []), await standing(audit_log.place, [])
    await opened(audit_log.place, first, WHO, WHY)
    with pytest.raises(Rejected, match="it has changed since it was verified"):
        await opened(audit_log.place, second, "eve", "no reason")
    assert len(await audit_log.fetch("SELECT FROM audit.epoch")) == 1


@pytest.mark.slow
@pytest.mark.asyncio
@pytest.mark.parametrize("inside", [False, True])
async def test_a_log_that_is_put_back_twice_has_two_epochs_and_no_place_is_given_twice(audit_log: AuditLog, inside: bool):
    then = await put_back(audit_log)
    await open_epoch(audit_log)
    await audit_log.write(1)
    if inside:
        then = audit_log.keep()
        await audit_log.write(1)
    audit_log.put_back(then)
    await refused(audit_log)
    assert (await audit_log.verify()).exit_code == 1
    await open_epoch(audit_log)
    async with audit_log.recording() as recorder:
        assert await call(recorder) == 2048
    report = await audit_log.verify()
    assert (report.exit_code, report.findings) == (4, ())
    told = [{(lost.stream, lost.after, lost.up_to) for lost in one.lost} for one in report.epochs]
    if inside:
        assert told == [{(0, 6, 14)}, {(1024, 5, 9)}]
    else:
        assert told == [{(0, 6, 14), (1024, 0, 5)}]


@pytest.mark.slow
@pytest.mark.asyncio
async def test_an_opening_that_broke_off_leaves_nothing_and_its_number_is_not_given_again(audit_log: AuditLog):
    await put_back(audit_log)
    stands = await standing(audit_log.place, [])
    signer = load_signer(audit_log.place.private_key, audit_log.place.public_key)
    append_notes(audit_log.place.anchor, [epoch_note(stands, signer, WHO, WHY)])
    assert "rule audit_put_back" in await refused(audit_log)
    await open_epoch(audit_log)
    async with audit_log.recording() as recorder:
        assert await call(recorder) == 2048
    assert (await audit_log.verify()).exit_code == 4


@pytest.mark.asyncio
async def test_what_an_earlier_moment_brought_back_to_life_ends_with_the_epoch(audit_log: AuditLog):
    await audit_log.fetch(
        "INSERT INTO approvals.asked (id, about, agent, roles, tool, datasource, rules, people, question, shown, expires_at)"
        " VALUES ('k3v7qa2m', 'd', 'ada', '{}', 'query', '', '{}', 1, '', '', now() + '1 day')"
    )
    await audit_log.fetch("INSERT INTO approvals.granted (asked, person) VALUES ('k3v7qa2m', 'olga')")
    for number, state in enumerate(("proposed", "applying", "applied", "reverting", "reverted")):
        await audit_log.fetch(
            "INSERT INTO changes.change (id, number, agent, roles, datasource, policy_hash, schema_version, state, transaction,"
            " rows_changed, expires_at, body) VALUES (sha256($1), gen_random_uuid(), 'ada', '{}', 'shop', '', '', $2, '7', 1,"
            " now() + '1 day', '')",
            *(bytes([number]), state),
        )
    await audit_log.fetch(
        "INSERT INTO jobs.job (id, agent, roles, tool, state, body) SELECT gen_random_uuid(), 'ada', '{}', 'query', s, 'x'"
        " FROM unnest('{queued,working,completed}'::text[]) AS s"
    )
    await audit_log.fetch("INSERT INTO cursors.cursor VALUES (sha256('c'), 'ada', '{}', 'shop', '', '', now() + '1 day', 'x');")
    await audit_log.fetch(
        "INSERT INTO tokens.token (id, digest, agent, roles, expires_at) "
        "VALUES ('aaaaaaaa', sha256('t'), 'ada', '{r}', now() + '1 h')"
    )
    await put_back(audit_log)
    assert await open_epoch(audit_log) == Ended(approvals=1, changes=4, jobs=2, cursors=1, tokens=1)
    assert await audit_log.fetch("SELECT FROM approvals.asked") == await audit_log.fetch("SELECT FROM approvals.granted") == []
    states = await audit_log.fetch("SELECT state, count(*)::int AS n FROM changes.change GROUP BY 1 ORDER BY 1")
    assert [tuple(row) for row in states] == [("reverted", 1), ("unknown", 4)]
    jobs = await audit_log.fetch("SELECT state, body IS NULL AS gone FROM jobs.job ORDER BY 1, 2")
    assert [tuple(row) for row in jobs] == [("completed", False), ("failed", True), ("failed", True)]
    assert await audit_log.fetch("SELECT FROM cursors.cursor") == []
    body = json.loads((await audit_log.fetch("SELECT body FROM audit.log WHERE stream = 1024"))[0]["body"])
    assert body["ended"] == {"approvals": 1, "changes": 4, "jobs": 2, "cursors": 1, "tokens": 1}


Attack = Callable[[AuditLog], Awaitable[None]]


async def _unsigned(log: AuditLog) -> None:
    """An epoch in the table that another key signed."""
    other = log.place.anchor.with_name("eve")
    signer = load_signer(other, other.with_suffix(".pub"))
    note = epoch_note(await standing(log.place, []), signer, WHO, WHY)
    await log.tamper(f"INSERT INTO audit.epoch (number, note) VALUES (1, $n${note}$n$)")


async def _without_record(log: AuditLog) -> None:
    """An epoch whose record is another one's."""
    await open_epoch(log)
    await log.tamper("UPDATE audit.log SET body = replace(body, 'olga', 'nobody') WHERE stream = 1024")


async def _taken_away(log: AuditLog) -> None:
    await open_epoch(log)
    await log.write(1)
    await log.tamper("DELETE FROM audit.epoch")


async def _written_on(log: AuditLog) -> None:
    """A record behind the end of a stream of before."""
    await open_epoch(log)
    await log.fetch(
        "INSERT INTO audit.log SELECT stream, seq + 1, ts, kind, call_id, body, hash FROM audit.log WHERE stream = 0 AND seq = 6"
    )


async def _cut_again(log: AuditLog) -> None:
    """More of the stretch before the epoch."""
    await open_epoch(log)
    await log.write(1)
    await log.tamper("DELETE FROM audit.log WHERE stream = 0 AND seq > 4")


async def _cut_after(log: AuditLog) -> None:
    await open_epoch(log)
    await log.write(1)
    await log.tamper("DELETE FROM audit.log WHERE stream = 1024 AND seq > 2; DELETE FROM audit.checkpoint WHERE stream = 1024")


async def _foreign_stream(log: AuditLog) -> None:
    """A stream of an epoch that nobody opened, by the writer's login."""
    await log.fetch("INSERT INTO audit.log VALUES (5120, 1, now(), 'e', gen_random_uuid(), '{}', '\\x00')", role="ostiary_writer")


ATTACKS = (_without_record, _taken_away, _written_on, _cut_again, _cut_after, _foreign_stream)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "attack", [_unsigned, *(pytest.param(attack, marks=pytest.mark.slow, id=attack.__name__) for attack in ATTACKS)]
)
async def test_an_epoch_washes_nothing_away_when(audit_log: AuditLog, attack: Attack):
    await put_back(audit_log)
    await attack(audit_log)
    report = await audit_log.verify()
    assert report.exit_code == 1, words(report)


@pytest.mark.slow
@pytest.mark.asyncio
async def test_anchors_elsewhere_that_prove_more_than_the_epoch_names_are_not_covered_by_it(audit_log: AuditLog):
    """Who cuts the anchor file before the epoch is opened hides how much is lost from the epoch, and not from a copy."""
    await audit_log.write(2)
    then = audit_log.keep()
    await audit_log.write(1)
    early = audit_log.place.anchor.read_text()
    await audit_log.write(3)
    copy = audit_log.place.anchor.with_name("copy")
    shutil.copy(audit_log.place.anchor, copy)
    audit_log.put_back(then)
    audit_log.place.anchor.write_text(early)
    await open_epoch(audit_log)
    await audit_log.write(1)
    assert (await audit_log.verify()).exit_code == 4
    with copy.open("a") as file:
        file.write(audit_log.place.anchor.read_text().removeprefix(early))
    outside = replace(audit_log, place=replace(audit_log.place, anchor=copy))
    report = await outside.verify()
    assert report.exit_code == 1
    assert "a checkpoint has 18 records, and epoch 1 names 10: the end was cut off" in words(report)
    await refused(outside)
    await open_epoch(audit_log, copy)
    assert [lost for one in (await outside.verify()).epochs for lost in one.lost][-1].up_to == 18
    assert (await outside.verify()).findings == ()


@pytest.mark.slow
@pytest.mark.asyncio
async def test_anchors_of_before_an_epoch_are_not_enough_after_it(audit_log: AuditLog):
    """Else whoever can write to the file replays it, and cuts what came after."""
    await put_back(audit_log)
    old = audit_log.place.anchor.read_text()
    await open_epoch(audit_log)
    await audit_log.write(1)
    audit_log.place.anchor.write_text(old)
    report = await audit_log.verify()
    assert (report.exit_code, report.sentence()) == (
        2,
        "cannot tell: the anchors end before epoch 1 was opened, so a cut end would not be noticed",
    )


@pytest.mark.slow
@pytest.mark.asyncio
async def test_a_note_that_this_installation_did_not_sign_neither_stops_it_nor_covers_a_loss(audit_log: AuditLog, tmp_path: Path):
    await audit_log.write(2)
    signed = [json.loads(line)["note"] for line in audit_log.place.anchor.read_text().splitlines()]
    forged = [note.replace("\n6\n", "\n600\n", 1) for note in signed if "/0\n6\n" in note]
    assert forged
    append_notes(audit_log.place.anchor, forged)
    await audit_log.write(1)
    assert not (await standing(audit_log.place, [])).known


@pytest.mark.slow
@pytest.mark.asyncio
async def test_what_is_wrong_besides_a_missing_end_stays_tampering_in_every_epoch(audit_log: AuditLog):
    await put_back(audit_log)
    await audit_log.tamper("UPDATE audit.log SET body = '{}' WHERE seq = 3")
    assert (await standing(audit_log.place, [])).tampered[0].startswith("stream 0, record 3:")
    await open_epoch(audit_log)
    await audit_log.write(1)
    report = await audit_log.verify()
    assert (report.exit_code, [finding.seq for finding in report.findings]) == (1, [3])
    body = json.loads((await audit_log.fetch("SELECT body FROM audit.log WHERE stream = 1024 AND seq = 1"))[0]["body"])
    assert body["findings"] == 1


@pytest.mark.slow
@pytest.mark.asyncio
async def test_an_export_and_a_proof_of_an_epoch_are_verified_elsewhere(audit_log: AuditLog, tmp_path: Path):
    await put_back(audit_log)
    await open_epoch(audit_log)
    await audit_log.write(1)
    target, place = tmp_path / "log.jsonl", audit_log.place
    await export_log(place.reader_dsn, target)
    report = verify_export(target, place.public_key, place.anchor)
    assert (report.exit_code, report.findings, len(report.epochs)) == (4, (), 1)
    proof = await prove_record(place.reader_dsn, 1024, 1)
    assert check_proof(json.dumps(proof), place.public_key).startswith("record 1 of ostiary/")
    without = [line for line in target.read_text().splitlines(keepends=True) if not line.startswith('{"epoch"')]
    target.write_text("".join(without))
    assert verify_export(target, place.public_key, None).exit_code == 1


@pytest.mark.slow
@pytest.mark.asyncio
async def test_an_export_is_evidence_where_the_anchors_are_lost_as_well(audit_log: AuditLog, tmp_path: Path):
    await audit_log.write(2)
    then = audit_log.keep()
    await audit_log.write(3)
    await export_log(audit_log.place.reader_dsn, tmp_path / "log.jsonl")
    audit_log.put_back(then)
    audit_log.place.anchor.unlink()
    assert not (await standing(audit_log.place, [])).known
    assert (await standing(audit_log.place, [tmp_path / "log.jsonl"])).known.claims[0].size == 14
    await open_epoch(audit_log, tmp_path / "log.jsonl")
    await audit_log.write(1)
    report = await audit_log.verify()
    assert (report.exit_code, report.epochs[0].lost[0].up_to) == (4, 14)


@pytest.mark.slow
@pytest.mark.asyncio
async def test_forged_notes_in_any_number_hide_no_evidence(audit_log: AuditLog):
    await put_back(audit_log)
    true = audit_log.place.anchor.read_text()
    note = json.loads(true.splitlines()[-1])["note"]
    origin, _, rest = note.replace("/streams\n", "/0\n").split("\n", 2)
    append_notes(audit_log.place.anchor, [f"{origin}\n{size}\n{rest}" for size in range(100, 2_600)])
    assert (await standing(audit_log.place, [])).known.claims[0].size == 14
    assert "14 records were signed for" in await refused(audit_log)


@pytest.mark.slow
@pytest.mark.asyncio
async def test_records_that_were_exchanged_under_a_process_are_told(audit_log: AuditLog, monkeypatch: pytest.MonkeyPatch):
    """No end is missing, so it goes on, and it is tampering: no epoch covers that."""
    monkeypatch.setattr(recorder_module, "ADOPT_S", 0.05)
    async with audit_log.recording() as recorder:
        await call(recorder)
        await audit_log.tamper(
            "INSERT INTO audit.log SELECT stream, 99, ts, kind, call_id, body, hash FROM audit.log WHERE seq = 1;"
            "DELETE FROM audit.log WHERE seq BETWEEN 2 AND 98"
        )

        async def told() -> bool:
            return "stream 0 has not the records that this process wrote" in recorder.state().problems

        await until(told)
    assert (await audit_log.verify()).exit_code == 1


@pytest.mark.asyncio
async def test_only_the_owners_functions_write_epochs_and_evidence(audit_log: AuditLog):
    for role in ("ostiary_writer", "ostiary_reader", "ostiary_admin"):
        for attack in (
            "INSERT INTO audit.epoch (number, note) VALUES (1, '')",
            "INSERT INTO audit.evidence (digest, note) VALUES ('', '')",
            "DELETE FROM audit.epoch",
            "SELECT approvals.put_back()" if role != "ostiary_admin" else "TRUNCATE audit.evidence",
            "SELECT audit.open_epoch(1, '', '[]', now(), gen_random_uuid(), '', '')"
            if role != "ostiary_admin"
            else "UPDATE audit.epoch SET note = ''",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await audit_log.fetch(attack, role=role)
