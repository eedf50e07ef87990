"""How fast the audit log is verified, from the table and from an export: `python bench/audit_verify.py [records]`."""

import asyncio
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from fix_audit import DONE, AuditLog, audit_log_at, entry
from fix_postgres import new_server, short_directory

from ostiary.audit.export import export_log
from ostiary.audit.recorder import Recorder
from ostiary.audit.verify import verify_export
from ostiary_tools.control.migrate import migrate

SQL = "select id, total from orders where customer_id = $1 and created_at > $2 order by created_at desc limit 50"


async def fill(log: AuditLog, records: int) -> None:
    """Record that many, two a call."""

    async def agent(recorder: Recorder, calls: int) -> None:
        for _ in range(calls):
            await recorder.conclude(await recorder.intend(entry(sql=SQL, fingerprint="a" * 16)), DONE)

    await migrate(log.place.admin_dsn)
    async with log.recording() as recorder:
        await asyncio.gather(*(agent(recorder, records // 512) for _ in range(256)))


async def measure(log: AuditLog, records: int) -> None:
    """Print both rates."""
    await fill(log, records)
    export = log.place.anchor.with_name("log.jsonl")
    start = time.perf_counter()
    table = await log.verify()
    from_table = time.perf_counter() - start
    written = await export_log(log.place.reader_dsn, export)
    start = time.perf_counter()
    lines = verify_export(export, log.place.public_key, log.place.anchor)
    from_lines = time.perf_counter() - start
    assert table.exit_code == lines.exit_code == 0
    assert table.records == lines.records == written
    print(f"{'source':<12}{'records':>10}{'seconds':>9}{'records/s':>12}")
    for name, took in (("table", from_table), ("JSON Lines", from_lines)):
        print(f"{name:<12}{written:>10,}{took:>9.2f}{written / took:>12,.0f}")


def main() -> None:
    """Everything in temporary directories."""
    root = short_directory()
    keys = Path(tempfile.mkdtemp())
    server = new_server(root, {"fsync": "off"})
    server.start()
    try:
        asyncio.run(measure(audit_log_at(server, "postgres", keys), int(sys.argv[1]) if len(sys.argv) > 1 else 400_000))
    finally:
        server.stop("immediate")
        shutil.rmtree(root)
        shutil.rmtree(keys)


if __name__ == "__main__":
    main()
