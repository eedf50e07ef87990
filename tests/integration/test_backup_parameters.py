"""Every parameter of the tools for backups as a hostile agent fills it: SQL, paths, options, commands, odd text."""

from collections.abc import Iterator
from typing import Any

import pytest
from fix_answers import text_of
from fix_custody import OpenStrongroom

HOSTILE = (
    *("'; DROP TABLE customers; --", '"; SELECT pg_sleep(9)', "$(touch /tmp/owned)", "`id`", "| id", "-rf", "--config=/etc/passwd"),
    *("../../etc/passwd", "/etc/passwd", "file:///etc/passwd", "s3://evil/prefix", "%s%n", "{}", "a\nb", "a\x00b", "\u202egnp", ""),
    *("x" * 5000, "0/0", "lsn:-1/0", "xid:0x10", "name:\x1b[31m", "0001-01-01T00:00:00+14:00", "NaN", "latest; DROP"),
)
NUMBERS = (-1, 0, 1 << 32, 1 << 70, "1; DROP", 1.5, [1])


def calls(real: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for text in HOSTILE:
        yield "create_backup", {"datasource": text}
        yield "create_backup", {"datasource": "shop", "kind": text}
        yield "verify_backup", {"backup": text}
        yield "verify_backup", {"backup": real, "level": text}
        yield "restore_backup", {"backup": text, "name": "fine"}
        yield "restore_backup", {"backup": real, "name": text}
        yield "restore_backup", {"backup": real, "name": "fine", "target": text}
        yield "restore_backup", {"backup": real, "name": "fine", "target": "schema", "tables": [text]}
        yield "restore_backup", {"datasource": "shop", "moment": text, "name": "fine"}
        yield "restore_backup", {"datasource": text, "moment": "latest", "name": "fine"}
        yield "job", {"id": text}
        yield "job", {"id": text, "action": "cancel"}
    for number in NUMBERS:
        yield "restore_backup", {"datasource": "shop", "moment": "latest", "name": "fine", "timeline": number}
    yield "restore_backup", {"backup": real, "name": "fine", "timeline": 1}


@pytest.mark.asyncio
async def test_no_parameter_of_an_agent_is_more_than_a_word(strongroom: OpenStrongroom):
    async with strongroom() as it, it.client() as client:
        real = await it.kept()
        let_through = [
            (tool, given, said)
            for tool, given in calls(real)
            for reply in [await client.call_tool(tool, given)]
            for said in [text_of(reply)]
            if not reply.is_error or said.startswith("internal")
        ]
        for text in HOSTILE:
            assert not text_of(await client.call_tool("list_backups", {"datasource": text})).startswith("internal")
        waiting = await it.house.queue.table.standing()
        outcomes = {one.get("outcome") for one in await it.site.records()}
    assert let_through == []
    assert waiting == (False, False), "none of them became a job"
    assert "internal" not in outcomes
    assert it.asked == [], "nobody was asked to agree to any"
