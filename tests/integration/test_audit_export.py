"""What leaves the log, and what can be shown with it: exports, proofs, sealed months, the command line."""

import asyncio
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from fix_audit import DONE, AuditLog, entry
from fix_waiting import until

from ostiary.audit import recorder as recorder_module
from ostiary.audit import stream as stream_module
from ostiary.audit.export import export_log
from ostiary.audit.lease import Leasing
from ostiary.audit.notes import Unreadable
from ostiary.audit.opening import opened, standing
from ostiary.audit.proof import NoProof, check_proof, prove_growth, prove_record
from ostiary.audit.reader import LogReader
from ostiary.audit.seal import SealRefused, oldest_month, seal_month
from ostiary.audit.verify import verify_export
from ostiary_tools.errors import Refused

OFFLINE = """
import sys
from pathlib import Path
from ostiary.audit.verify import verify_export
report = verify_export(Path(sys.argv[1]), Path(sys.argv[2]), None)
print(report.sentence())
sys.exit(report.exit_code)
"""


def damaged(export: Path, change: dict[str, str]) -> Path:
    """A copy with texts replaced."""
    text = export.read_text("utf-8")
    for old, new in change.items():
        assert old in text
        text = text.replace(old, new, 1)
    copy = export.with_name("damaged.jsonl")
    copy.write_text(text, "utf-8")
    return copy


@pytest.mark.asyncio
async def test_an_export_is_verified_elsewhere_with_the_public_key_alone(audit_log: AuditLog, tmp_path: Path) -> None:
    await audit_log.write(20)
    target = tmp_path / "log.jsonl"
    assert await export_log(audit_log.place.reader_dsn, target) == 42
    assert target.stat().st_mode & 0o777 == 0o600
    command: list[str | Path] = [sys.executable, "-I", "-c", OFFLINE, target, audit_log.place.public_key]
    done = await asyncio.to_thread(lambda: subprocess.run(command, capture_output=True, text=True, check=False, env={}, cwd="/"))
    assert done.stdout == "42 records of 1 streams are as they were written, and agree with 1 checkpoints\n"
    assert done.returncode == 0


@pytest.mark.asyncio
async def test_a_changed_or_cut_export_is_noticed(audit_log: AuditLog, tmp_path: Path) -> None:
    await audit_log.write(5)
    target, key = tmp_path / "log.jsonl", audit_log.place.public_key
    await export_log(audit_log.place.reader_dsn, target)
    lines = target.read_text().splitlines(keepends=True)
    assert verify_export(damaged(target, {"ada": "eve"}), key, None).exit_code == 1
    assert verify_export(damaged(target, {lines[5]: ""}), key, None).exit_code == 1
    assert verify_export(damaged(target, {lines[-1]: ""}), key, None).exit_code == 1
    assert verify_export(damaged(target, {lines[-1]: lines[-1][:20]}), key, None).exit_code == 2
    assert verify_export(damaged(target, {'"export":1': '"export":2'}), key, None).exit_code == 2
    assert verify_export(damaged(target, {lines[1]: ""}), key, None).exit_code == 2
    assert verify_export(damaged(target, {lines[1]: ""}), key, audit_log.place.anchor).exit_code == 0
    assert verify_export(target, target, None).exit_code == 2


@pytest.mark.asyncio
async def test_one_record_is_proved_to_an_outsider_without_the_others(audit_log: AuditLog) -> None:
    await audit_log.write(20)
    place = audit_log.place
    for seq in (1, 2, 20, 42):
        proof = json.dumps(await prove_record(place.reader_dsn, 0, seq))
        assert check_proof(proof, place.public_key).startswith(f"record {seq} of ostiary/")
        for old, new in (('"seq": ', '"seq": 1'), ('\\"v\\":1', '\\"v\\":2'), ('"path": ["', '"path": ["AAAA')):
            with pytest.raises((NoProof, Unreadable)):
                check_proof(proof.replace(old, new, 1), place.public_key)
    with pytest.raises(NoProof):
        await prove_record(place.reader_dsn, 0, 43)


@pytest.mark.asyncio
async def test_growth_between_two_checkpoints_is_proved(audit_log: AuditLog) -> None:
    for _ in range(3):
        await audit_log.write(5)
    place = audit_log.place
    proof = await prove_growth(place.reader_dsn, 0, 1, 36)
    assert "continue its first 12" in check_proof(json.dumps(proof), place.public_key)
    turned = {**proof, "old": proof["note"], "note": proof["old"]}
    with pytest.raises(NoProof):
        check_proof(json.dumps(turned), place.public_key)


class LastMonth(datetime):
    """A clock that is a month late."""

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        """A day at the end of the month before this."""
        return datetime.now(tz).replace(day=1) - timedelta(days=3)


@pytest.fixture
def old_month(audit_log: AuditLog, monkeypatch: pytest.MonkeyPatch) -> str:
    """Ten calls of last month and ten of this one; the name of the old month."""
    first = (datetime.now(UTC).replace(day=1) - timedelta(days=3)).replace(day=1).date()
    named = f"log_{first:%Y_%m}"

    async def make() -> None:
        await audit_log.tamper(
            f"CREATE TABLE audit.{named} (LIKE audit.log INCLUDING ALL); ALTER TABLE audit.{named} OWNER TO ostiary_owner;"
            f"ALTER TABLE audit.log ATTACH PARTITION audit.{named} FOR VALUES FROM ('{first}') TO (date_trunc('month', now()));"
            f"GRANT SELECT ON audit.{named} TO ostiary_reader;"
        )
        monkeypatch.setattr(stream_module, "datetime", LastMonth)
        await audit_log.write(10)
        monkeypatch.undo()
        await audit_log.write(10)

    asyncio.run(make())
    return f"{first:%Y_%m}"


def test_a_sealed_month_is_in_its_export_and_the_chain_goes_on(audit_log: AuditLog, old_month: str, tmp_path: Path) -> None:
    async def case() -> None:
        place = audit_log.place
        assert await oldest_month(place.reader_dsn) == old_month
        sealed = await seal_month(place, old_month, tmp_path / "month.jsonl")
        assert (sealed.partition, sealed.records) == (f"log_{old_month}", 22)
        assert (await audit_log.fetch("SELECT min(seq), max(seq) FROM audit.log"))[0][:] == (23, 44)
        assert verify_export(tmp_path / "month.jsonl", place.public_key, None).exit_code == 0
        await audit_log.write(3)
        report = await audit_log.verify()
        assert (report.exit_code, report.records, report.findings) == (0, 30, ())
        assert check_proof(json.dumps(await prove_record(place.reader_dsn, 0, 23)), place.public_key)
        with pytest.raises(NoProof):
            await prove_record(place.reader_dsn, 0, 22)
        await export_log(place.reader_dsn, tmp_path / "rest.jsonl")
        assert verify_export(tmp_path / "rest.jsonl", place.public_key, place.anchor).exit_code == 0
        await audit_log.tamper("DELETE FROM audit.seal")
        assert (await audit_log.verify()).exit_code == 1

    asyncio.run(case())


@pytest.mark.slow
def test_a_process_whose_last_record_is_sealed_goes_on_in_its_stream(
    audit_log: AuditLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has been idle for a month, and what it remembers is in no table any more."""
    monkeypatch.setattr(recorder_module, "ADOPT_S", 0.05)
    first = (datetime.now(UTC).replace(day=1) - timedelta(days=3)).replace(day=1).date()

    async def case() -> None:
        await audit_log.tamper(
            f"CREATE TABLE audit.log_{first:%Y_%m} (LIKE audit.log INCLUDING ALL);"
            f"ALTER TABLE audit.log_{first:%Y_%m} OWNER TO ostiary_owner;"
            f"ALTER TABLE audit.log ATTACH PARTITION audit.log_{first:%Y_%m}"
            f" FOR VALUES FROM ('{first}') TO (date_trunc('month', now()));"
            f"GRANT SELECT ON audit.log_{first:%Y_%m} TO ostiary_reader;"
        )
        with monkeypatch.context() as late:
            late.setattr(stream_module, "datetime", LastMonth)
            async with audit_log.recording() as recorder:
                ticket = await recorder.intend(entry())
                await recorder.conclude(ticket, DONE, durable=True)
                rounds: list[int] = []
                looked = Leasing.stands

                async def counted(leasing: Leasing, journal: Any, own: Any) -> None:
                    await looked(leasing, journal, own)
                    rounds.append(own.place.seq)

                late.setattr(Leasing, "stands", counted)
                await until(lambda: rounds[-1:] == [3] and audit_log.place.anchor.exists())
                await seal_month(audit_log.place, f"{first:%Y_%m}", tmp_path / "month.jsonl")
                rounds.clear()
                await until(lambda: len(rounds) > 1)
                assert recorder.state().problems == ()
                late.undo()
                assert (await recorder.intend(entry())).stream == ticket.stream

    asyncio.run(case())


@pytest.mark.slow
def test_a_month_of_before_an_epoch_is_sealed_after_it(audit_log: AuditLog, old_month: str, tmp_path: Path) -> None:
    """The records of an epoch are not in that month's export, and the ends that it names stay true of what is left."""

    async def case() -> None:
        place = audit_log.place
        then = audit_log.keep()
        await audit_log.write(2)
        audit_log.put_back(then)
        await opened(place, await standing(place, []), "olga", "the disk failed")
        await audit_log.write(1)
        await seal_month(place, old_month, tmp_path / "month.jsonl")
        assert verify_export(tmp_path / "month.jsonl", place.public_key, None).exit_code == 0
        await audit_log.write(1)
        report = await audit_log.verify()
        assert (report.exit_code, report.findings) == (4, ())
        await export_log(place.reader_dsn, tmp_path / "rest.jsonl")
        assert verify_export(tmp_path / "rest.jsonl", place.public_key, place.anchor).exit_code == 4

    asyncio.run(case())


def test_neither_the_present_month_nor_a_log_that_does_not_verify_is_sealed(
    audit_log: AuditLog, old_month: str, tmp_path: Path
) -> None:
    async def case() -> None:
        place = audit_log.place
        this_month = f"{datetime.now(UTC):%Y_%m}"
        with pytest.raises(SealRefused):
            await seal_month(place, this_month, tmp_path / "a.jsonl")
        for seals in ("[]", '[{"stream": 0, "size": 21, "hash": "00", "note": "x", "peaks": ""}]'):
            with pytest.raises(asyncpg.InvalidParameterValueError):
                await audit_log.fetch("SELECT audit.seal_partition($1, $2::jsonb)", f"log_{old_month}", seals)
        await audit_log.tamper("UPDATE audit.log SET body = '{}' WHERE seq = 3")
        with pytest.raises(SealRefused, match="only when it verifies"):
            await seal_month(place, old_month, tmp_path / "b.jsonl")
        assert (await audit_log.fetch("SELECT count(*) FROM audit.log"))[0][0] == 44

    asyncio.run(case())


@pytest.mark.asyncio
async def test_pages_of_two_streams_follow_each_other_without_gap_or_repetition(audit_log: AuditLog) -> None:
    async with audit_log.recording():
        await audit_log.write(6)
    await audit_log.write(6)
    reader = LogReader(audit_log.place)
    seen: list[tuple[int, int]] = []
    before: str | None = None
    for _ in range(100):
        page = await reader.records(agent=None, tool=None, kind=None, before=before, limit=4)
        if not page:
            break
        seen += [(record["stream"], record["seq"]) for record in page]
        before = page[-1]["position"]
    rows = await audit_log.fetch("SELECT stream, seq FROM audit.log ORDER BY ts DESC, stream, seq DESC")
    assert sorted(seen) == sorted((row["stream"], row["seq"]) for row in rows)
    assert len(seen) == len(set(seen)) == len(rows)


@pytest.mark.asyncio
async def test_records_are_found_by_agent_tool_and_kind(audit_log: AuditLog) -> None:
    await audit_log.write(3)
    reader = LogReader(audit_log.place)
    outcomes = await reader.records(agent="ada", tool="query", kind="outcome", before=None, limit=50)
    assert [(record["kind"], record["status"], record["rows"]) for record in outcomes] == [("outcome", "ok", 3)] * 3
    assert await reader.records(agent="bob", tool=None, kind=None, before=None, limit=50) == []
    for wrong in ({"kind": "i; drop"}, {"before": "0:x"}):
        with pytest.raises(Refused):
            await reader.records(agent=None, tool=None, kind=wrong.get("kind"), before=wrong.get("before"), limit=1)


@pytest.mark.asyncio
async def test_the_report_is_words_for_a_reader(audit_log: AuditLog) -> None:
    await audit_log.write(3)
    await audit_log.tamper("UPDATE audit.log SET body = '{}' WHERE seq = 3")
    assert (await LogReader(audit_log.place).verify()).text == (
        "the audit log was tampered with: 1 findings in 8 records of 1 streams\n"
        "- stream 0, record 3: the record is not what was written, or does not follow the one before it"
    )
