"""Transfers between accounts by many agents at once, whose servers and sessions are killed: the sum stays, none happens twice."""

import asyncio
import os
import random
import signal
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import asyncpg
import pytest
from fix_company import CHANGE
from fix_faults import Answer, Installation, Serving, external
from fix_postgres import PostgresServer
from fix_waiting import until
from mcp import MCPError

pytestmark = [pytest.mark.fault, pytest.mark.slow]

ACCOUNTS, EACH = 2_000, 1_000
SCHEMA = f"""
CREATE TABLE accounts (id integer PRIMARY KEY, balance integer NOT NULL);
INSERT INTO accounts SELECT n, {EACH} FROM generate_series(1, {ACCOUNTS}) n;
CREATE TABLE done (number integer, source integer, target integer, amount integer);
"""
POLICY = '@id("all") permit (principal in Role::"analyst", action, resource);'
TRANSFERS, TOGETHER = 10_000, 5
SERVERS, AGENTS = 3, 3
"""Servers at once, and agents of each."""
LIMIT_S = 900
AGAIN = ("busy", "unavailable", "locked", "outcome_unknown", "database_error", "timeout", "not_recorded")
"""How a call may fail of which the agent does not know whether it happened, or that it may just try again."""


@dataclass(frozen=True)
class Transfer:
    """So much from one account to another; its number is its own."""

    number: int
    source: int
    target: int
    amount: int


Batch = tuple[Transfer, ...]


@dataclass
class Work:
    """What is to be done, and what is in doubt because a server died."""

    batches: deque[Batch]
    doubts: list[tuple[Batch, str]] = field(default_factory=list)
    open: int = 0
    applied: int = 0
    refused: int = 0

    @property
    def over(self) -> bool:
        """Nothing is to be done any more."""
        return not self.batches and not self.doubts and not self.open

    def came_to(self, applied: int) -> bool:
        """So many changes are applied, or there is nothing left to do."""
        return self.over or self.applied >= applied


def drawn(dice: random.Random) -> Iterator[Batch]:
    """All transfers, some together; those of a batch touch an account once."""
    for first in range(0, TRANSFERS, TOGETHER):
        accounts = dice.sample(range(1, ACCOUNTS + 1), 2 * TOGETHER)
        yield tuple(Transfer(first + n, accounts[2 * n], accounts[2 * n + 1], dice.randint(1, 9)) for n in range(TOGETHER))


def statements(batch: Batch) -> list[dict[str, str]]:
    """What makes them."""
    moves = [(t.source, -t.amount) for t in batch] + [(t.target, t.amount) for t in batch]
    given = ", ".join(f"({account}, {delta})" for account, delta in moves)
    rows = ", ".join(f"({t.number}, {t.source}, {t.target}, {t.amount})" for t in batch)
    return [
        {"sql": f"update accounts a set balance = a.balance + v.delta from (values {given}) as v (id, delta) where a.id = v.id"},
        {"sql": f"insert into done (number, source, target, amount) values {rows}"},
    ]


async def served(installation: Installation, work: Work, alive: set[int]) -> None:
    """One server after the other, each with its agents, until the work is over."""
    while not work.over:
        with suppress(MCPError):
            async with installation.serving() as serving:
                alive.add(serving.pid)
                try:
                    async with asyncio.TaskGroup() as group:
                        for _ in range(AGENTS):
                            group.create_task(transferring(serving, work))
                finally:
                    alive.discard(serving.pid)


async def transferring(serving: Serving, work: Work) -> None:
    """One agent: what is in doubt first, then what is to be done; until the connection is gone."""
    with suppress(MCPError):
        while not work.over:
            if work.doubts:
                await settled(serving, work, *work.doubts.pop())
            elif work.batches:
                await transferred(serving, work, work.batches.popleft())
            else:
                await asyncio.sleep(0.05)  # another agent still works on the last


@asynccontextmanager
async def undecided(work: Work, batch: Batch, change: list[str]) -> AsyncIterator[None]:
    """Whatever ends the block, the batch is not lost: without a change it was not made, with one it is in doubt."""
    work.open += 1
    try:
        yield
    except MCPError:
        if change:
            work.doubts.append((batch, change[0]))
        else:
            work.batches.append(batch)
        raise
    finally:
        work.open -= 1


async def transferred(serving: Serving, work: Work, batch: Batch) -> None:
    """Propose and apply."""
    change: list[str] = []
    async with undecided(work, batch, change):
        proposal = await serving.call("propose_change", statements=statements(batch))
        if proposal.failed:
            assert proposal.code in AGAIN, proposal.text
            work.batches.append(batch)
            return
        change += CHANGE.findall(proposal.text)[:1]
        judged(work, batch, change[0], await applied(serving, change[0]))


async def settled(serving: Serving, work: Work, batch: Batch, change: str) -> None:
    """Ask again what became of a change whose server died: applying it twice is refused, so it may be tried."""
    async with undecided(work, batch, [change]):
        judged(work, batch, change, await applied(serving, change))


async def applied(serving: Serving, change: str) -> Answer:
    """Apply it."""
    return await serving.call("apply_change", change=change, isolation="serializable")


def judged(work: Work, batch: Batch, change: str, answer: Answer) -> None:
    """It is done, or must be proposed anew, or is still in doubt."""
    if not answer.failed or "applied already" in answer.text:
        work.applied += 1
    elif answer.code in AGAIN or "is being applied" in answer.text:
        work.doubts.insert(0, (batch, change))
    else:
        assert answer.code == "refused", answer.text
        work.refused += 1
        work.batches.append(batch)


async def killing(shop: asyncpg.Connection, control: asyncpg.Connection, work: Work, alive: set[int], dice: random.Random) -> int:
    """Kill servers and sessions while there is work; how many."""
    kills, then = 0, work.applied
    while not work.over:
        with suppress(TimeoutError):
            await until(partial(work.came_to, then + 60), 60)
        then = work.applied
        match dice.choice(("server", "shop", "shop", "control")):
            case "server" if alive:
                with suppress(ProcessLookupError):
                    os.kill(dice.choice(sorted(alive)), signal.SIGKILL)
            case "control":
                await control.execute(ENDED)
            case _:
                await shop.execute(ENDED)
        kills += 1
    return kills


ENDED = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE pid <> pg_backend_pid() AND backend_type = 'client backend' AND state <> 'idle' ORDER BY random() LIMIT 1
"""


@pytest.fixture
def bank(tmp_path: Path, own_server: Callable[..., PostgresServer], control_server: PostgresServer) -> Installation:
    """An installation that may change its accounts."""
    shop = own_server(fsync="off")
    shop.sql(SCHEMA)
    made = external(tmp_path, shop, control_server)
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "own.cedar").write_text(POLICY)
    more = '\nwriter_dsn = "env:SHOP_DSN"\nwriter_powers = ["superuser"]\n[policy]\ndirectory = "policies"\n'
    made.file.write_text(made.file.read_text() + more)
    return made


@pytest.mark.asyncio
async def test_of_10_000_transfers_none_is_lost_or_made_twice_whoever_is_killed(bank: Installation):
    dice = random.Random(20260606)  # noqa: S311  drawn, not secret
    work, alive = Work(deque(drawn(dice))), set[int]()
    assert bank.control is not None
    shop, control = await asyncpg.connect(bank.environ["SHOP_DSN"]), await asyncpg.connect(bank.control.dsn())
    try:
        async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as group:
            killed = group.create_task(killing(shop, control, work, alive, dice))
            for _ in range(SERVERS):
                group.create_task(served(bank, work, alive))
        rows = await shop.fetch("SELECT number, source, target, amount FROM done ORDER BY number")
        made = [Transfer(*row) for row in rows]
        wanted = sorted((t for batch in drawn(random.Random(20260606)) for t in batch), key=lambda t: t.number)  # noqa: S311
        assert made == wanted
        balances = dict.fromkeys(range(1, ACCOUNTS + 1), EACH)
        for transfer in made:
            balances[transfer.source] -= transfer.amount
            balances[transfer.target] += transfer.amount
        assert {row[0]: row[1] for row in await shop.fetch("SELECT id, balance FROM accounts")} == balances
        assert killed.result() >= 10
        assert work.refused >= 10, "nobody met anybody"
    finally:
        await shop.close()
        await control.close()
    async with bank.serving():  # what the killed left open is ended
        await until(lambda: _all_ended(bank), 60)
    await bank.assert_verified()


async def _all_ended(installation: Installation) -> bool:
    """Every intent has its outcome."""
    rows = await installation.ask(
        "SELECT count(*) FROM audit.log i WHERE i.kind = 'i'"
        " AND NOT EXISTS (SELECT FROM audit.log o WHERE o.kind = 'o' AND o.call_id = i.call_id)"
    )
    return bool(rows[0][0] == 0)
