"""A company whose rows are changed through the gate, and scenarios of that as data: calls, and what is true before and after.

A scenario is a list of steps. A step is one call of an agent, or what somebody else does
with the database meanwhile. What is held of every step, whatever it says of itself: a
call that failed or only proposed has changed nothing; no reply tells a canary or is
long; each call has its records, and the chain verifies.
"""

import asyncio
import json
import re
import tomllib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import mcp.types as t
from fix_attacks import CASES
from fix_postgres import PostgresServer
from fix_server import HIDES, MakeSite, Site
from fix_waiting import until
from mcp import Client

from ostiary.app import House, open_house
from ostiary.audit.verify import verify_database
from ostiary.mcp_app import McpApp
from ostiary_policies.model import Principal

FOLDER = CASES / "changes"
POLICY = HIDES + (FOLDER / "policy.cedar").read_text("utf-8")
SCHEMA, ROWS = (FOLDER / "schema.sql").read_text("utf-8").split("-- rows\n")
HIDDEN = {name: ["hidden"] for name in ("public.vault", "public.vault_side", "public.people.pin")}
READER, WRITER = "company_reader", "company_writer"
LONGEST_REPLY = 4_000
CHANGE = re.compile(r'change="([^"]+)"')
"""How a proposal is called in the reply that made it."""
WAITING = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND usename = $1
"""
LEFT_OPEN = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND usename IN ($1, $2) AND (state <> 'idle' OR pid IN (SELECT pid FROM pg_locks))
"""


@dataclass(frozen=True)
class Scenario:
    """A title and what happens, in order."""

    title: str
    steps: Sequence[Mapping[str, Any]]


def scenarios(name: str) -> Iterator[tuple[str, list[Scenario]]]:
    """Those of one file, by group; a group is played on one server."""
    groups: dict[str, list[Scenario]] = {}
    for case in tomllib.loads((FOLDER / name).read_text("utf-8"))["case"]:
        groups.setdefault(case["group"], []).append(Scenario(case["title"], [_plain(step) for step in case["steps"]]))
    yield from groups.items()


def _plain(value: Any) -> Any:
    """TOML has no null: `{ null = true }` stands for it."""
    match value:
        case {"null": True}:
            return None
        case dict():
            return {name: _plain(item) for name, item in value.items()}
        case list():
            return [_plain(item) for item in value]
        case _:
            return value


@dataclass
class Human:
    """Who sits at the client: says yes or no when asked, and keeps what it was asked."""

    said: bool
    asked: list[str] = field(default_factory=list)

    async def answer(self, context: Any, params: Any) -> t.ElicitResult | t.ErrorData:  # noqa: ARG002  named by the protocol
        """The client's callback."""
        self.asked.append(params.message)
        return t.ElicitResult(action="accept", content={"approve": self.said})


@dataclass
class Company:
    """A server before the company's database, and who does what to it."""

    site: Site
    database: str
    house: House
    admin: asyncpg.Connection
    stack: AsyncExitStack
    clients: dict[str, Client] = field(default_factory=dict)
    told: list[tuple[str, str, bool]] = field(default_factory=list)
    """Every call with its reply, and whether that is a failure."""
    others: dict[str, asyncpg.Connection] = field(default_factory=dict)
    """Sessions of outsiders, in transactions of their own."""
    running: dict[str, asyncio.Task[Any]] = field(default_factory=dict)
    changes: dict[str, str] = field(default_factory=dict)
    """Proposals by the names that steps give them; the last is `last`."""
    answered_beside: int = 0
    """Calls of another agent."""

    @asynccontextmanager
    async def asked_beside(self) -> AsyncIterator[None]:
        """Another agent asks small things, one after the other, while the block lasts."""
        client = await self._client("bob", None)

        async def ask() -> None:
            while True:
                await client.call_tool("whoami", {})
                self.answered_beside += 1

        asking = asyncio.create_task(ask())
        try:
            yield
        finally:
            asking.cancel()
            with suppress(asyncio.CancelledError):
                await asking

    async def play(self, scenario: Scenario) -> list[str]:
        """What was not as it should be, in words."""
        wrong: list[str] = []
        self.told, self.changes = [], {}
        await self.admin.execute(f"SET session_replication_role = replica; {_emptied()} {ROWS}; RESET session_replication_role")
        known = await self._recorded()
        try:
            for number, step in enumerate(scenario.steps):
                try:
                    found = await self._step(step)
                except (TimeoutError, AssertionError) as error:
                    found = [f"{type(error).__name__} {error}"]
                wrong += [f"{scenario.title}, step {number + 1}: {one}" for one in found]
                if found:
                    break
        finally:
            wrong += [f"{scenario.title}: {one}" for one in await self._ended(known)]
        return wrong

    async def _step(self, step: Mapping[str, Any]) -> list[str]:
        match step:
            case {"state": question}:
                return await self._asked(question, step["is"])
            case {"alike": [one, other]}:
                return self._alike(one, other)
            case {"begins": name, "call": call}:
                self.running[name] = asyncio.create_task(self._call(call))
            case {"ends": name}:
                return self._judged(await self.running.pop(name), step)
            case {"propose": _} | {"rows": _} | {"apply": _} | {"revert": _} | {"tool": _}:
                return await self._quietly(step)
            case _:
                await self._meanwhile(step)
        return []

    async def _meanwhile(self, step: Mapping[str, Any]) -> None:
        """What others than agents do."""
        match step:
            case {"outsider": sql}:
                await (await self._other(step.get("who"))).execute(sql)
            case {"waits": name}:
                await until(lambda: self._waits(str(name)))
            case {"policy": replaced}:
                await self._policy(replaced)
            case {"control": sql}:
                await self._control(sql)
            case {"later": name, "outsider_begins": sql}:
                self.running[name] = asyncio.create_task((await self._other(step["who"])).execute(sql))
            case {"joined": name}:
                with suppress(asyncpg.PostgresError):
                    await self.running.pop(name)
            case _:
                raise AssertionError(step)

    async def _quietly(self, step: Mapping[str, Any]) -> list[str]:
        """A call while nobody else does anything: what it changed is known."""
        before = await self._fingerprint()
        reply = await self._call(step)
        wrong = self._judged(reply, step)
        changed = await self._fingerprint() != before
        stays = reply[1] is False and ("apply" in step or "revert" in step) and not step.get("nothing")
        if changed != stays:
            wrong.append(f"{'something' if changed else 'nothing'} has changed: {reply[0][:600]}")
        return wrong

    async def _call(self, step: Mapping[str, Any]) -> tuple[str, bool]:
        """The reply, and whether it is a failure."""
        client = await self._client(step.get("as", "ada"), step.get("human"))
        name, arguments = self._arguments(step)
        reply = await client.call_tool(name, arguments)
        text = "\n".join(block.text for block in reply.content if isinstance(block, t.TextContent))
        self.told.append((f"{name} {arguments}"[:300], text, bool(reply.is_error)))
        if name == "propose_change" and not reply.is_error and (found := CHANGE.search(text)):
            self.changes["last"] = self.changes[step.get("named", "last")] = found[1]
        return text, bool(reply.is_error)

    def _arguments(self, step: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        match step:
            case {"propose": str(sql)}:
                return "propose_change", {"statements": [{"sql": sql, "params": step.get("params", [])}]}
            case {"propose": list(statements)}:
                return "propose_change", {"statements": [{"sql": sql} for sql in statements]}
            case {"rows": rows}:
                return "propose_change", {"rows": [dict(one) for one in ([rows] if isinstance(rows, dict) else rows)]}
            case {"apply": wanted}:
                given = {name: step[name] for name in ("isolation", "lock_rows") if name in step}
                return "apply_change", {"change": self._change(wanted), **given}
            case {"revert": wanted}:
                return "revert_change", {"change": self._change(wanted)}
            case {"tool": name}:
                return name, dict(step.get("arguments", {}))
            case _:
                raise AssertionError(step)

    def _change(self, wanted: Any) -> str:
        return self.changes.get("last" if wanted is True else wanted, str(wanted))

    def _alike(self, one: str, other: str) -> list[str]:
        """The last two replies tell the same but for these words."""
        told = [reply.replace(one, other) for _, reply, _ in self.told[-2:]]
        return [] if told[0] == told[1] else [f"tells {one} from {other}: {told}"]

    def _judged(self, reply: tuple[str, bool], step: Mapping[str, Any]) -> list[str]:
        text, failed = reply
        code = text.partition(":")[0] if failed else ""
        expected = step.get("fails", "")
        fits = failed if expected == "*" else code == expected
        wrong = [] if fits else [f"{code or 'no failure'} instead of {expected or 'success'}: {text}"]
        wrong += [f"does not say {word!r}: {text}" for word in step.get("says", ()) if word.lower() not in text.lower()]
        wrong += [f"says {word!r}: {text}" for word in step.get("keeps", ()) if word.lower() in text.lower()]
        if step.get("propose") and not failed and not CHANGE.search(text):
            wrong.append(f"names no change: {text}")
        return wrong

    async def _asked(self, question: str, expected: Any) -> list[str]:
        rows = [[None if value is None else str(value) for value in row] for row in await self.admin.fetch(question)]
        found = rows[0][0] if isinstance(expected, str) and rows else rows
        return [] if found == expected else [f"{question} gives {found} and not {expected}"]

    async def _other(self, who: str | None) -> asyncpg.Connection:
        if who is None:
            return self.admin
        if who not in self.others:
            self.others[who] = await asyncpg.connect(self.site.server.dsn(database=self.database))
        return self.others[who]

    async def _count(self, question: str, *values: str) -> bool:
        return bool(await self.admin.fetchval(question, *values))

    async def _waits(self, name: str) -> bool:
        """Whether a session of ours waits for a lock; the call must not have ended."""
        assert not self.running[name].done(), self.running[name].result()
        return await self._count(WAITING, WRITER)

    async def _client(self, who: str, human: bool | None) -> Client:
        key = f"{who} {human}"
        if key not in self.clients:
            name, _, role = who.partition(":")
            principal = Principal(name, tuple(sorted({"worker", role or "worker"})))
            app = McpApp(self.house.gate, lambda _: principal, jobs=self.house.jobs, state_keys=("k" * 32,))
            client = Client(app.server, elicitation_callback=None if human is None else Human(human).answer)
            self.clients[key] = await self.stack.enter_async_context(client)
        return self.clients[key]

    async def _policy(self, replaced: Sequence[str]) -> None:
        """Another policy is in force from now on; an empty one is the first again."""
        text = POLICY.replace(replaced[0], replaced[1]) if replaced else POLICY
        (self.site.folder / "policies" / "own.cedar").write_text(text)
        self.house.policies.put_in_force(self.house.policies.judged(self.house.policies.look()))

    async def _control(self, sql: str) -> None:
        connection = await asyncpg.connect(self.site.server.dsn(database=self.site.control))
        try:
            await connection.execute(sql)
        finally:
            await connection.close()

    async def _fingerprint(self) -> Mapping[str, str]:
        """The rows of every table, and what is defined."""
        tables = await self.admin.fetch(
            "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1"
        )
        parts = [f"SELECT $${row[0]}$$, md5(string_agg(x::text, '|' ORDER BY x::text)) FROM {row[0]} x" for row in tables]
        return {row[0]: str(row[1]) for row in await self.admin.fetch(" UNION ALL ".join([*parts, _DEFINED]))}

    async def _recorded(self) -> set[str]:
        return {record["call"] for record in await self.site.records()}

    async def _ended(self, known: set[str]) -> list[str]:
        """What must be true when a scenario is over, whatever happened in it."""
        wrong = []
        for task in self.running.values():
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task
        self.running = {}
        for other in self.others.values():
            other.terminate()
        self.others = {}
        await self._policy(())
        try:
            await until(self._nothing_open, 10)
        except TimeoutError:
            wrong.append("a session of the server is still in a transaction")
        told = [reply for _, reply, _ in self.told]
        wrong += [f"tells a canary: {reply}" for reply in told if re.search("canary", reply, re.IGNORECASE)]
        wrong += [f"is {len(reply)} characters long: {reply[:200]}" for reply in told if len(reply) > LONGEST_REPLY]
        return wrong + await self._unrecorded(known)

    async def _nothing_open(self) -> bool:
        return not await self._count(LEFT_OPEN, READER, WRITER)

    async def _unrecorded(self, known: set[str]) -> list[str]:
        """Each call has a record, and one that was let through has two."""
        calls: dict[str, list[dict[str, Any]]] = {}
        for record in await self.site.records():
            if record["call"] not in known:
                calls.setdefault(record["call"], []).append(record)
        decided = {call: records for call, records in calls.items() if any(_decides(record) for record in records)}
        # Of refusals of the same kind in a row one stands in the log, with their number.
        least = sum(not failed for _, _, failed in self.told)
        wrong = [f"{len(self.told)} calls and {len(decided)} in the log"] if len(decided) < least else []
        for records in decided.values():
            permitted = any(record.get("decision") == "permit" for record in records)
            if permitted and len(records) < 2:
                wrong.append(f"an intent without an outcome: {json.dumps(records)[:300]}")
        return wrong

    async def verified(self) -> list[str]:
        """What the chain's verifier finds."""
        config = self.site.config
        reader = self.site.server.dsn("ostiary_reader", self.site.control)
        report = await verify_database(reader, _public_key(config.home.state), config.anchor_file)
        return [] if report.exit_code == 0 else [str(report)]


def _decides(record: Mapping[str, Any]) -> bool:
    """Whether it is of a call that changes something, as it was decided."""
    return "decision" in record and str(record.get("tool")).endswith("_change")


_DEFINED = """
SELECT 'defined', md5(string_agg(concat_ws(' ', c.oid::regclass, a.attname, a.atttypid::regtype), ',' ORDER BY c.oid, a.attnum))
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE relnamespace = 'public'::regnamespace
"""


def _emptied() -> str:
    tables = re.findall(r'^CREATE TABLE ((?:"(?:[^"]|"")*"|\w+)) (?!.*PARTITION OF)', SCHEMA, flags=re.MULTILINE)
    return f"TRUNCATE {', '.join(tables)} RESTART IDENTITY CASCADE;"


def _public_key(state: Path) -> Path:
    return next(state.rglob("*.pub"))


@asynccontextmanager
async def company(server: PostgresServer, database: str, make_site: MakeSite, **wishes: Any) -> AsyncIterator[Company]:
    """A server before a database made of the schema, while the block lasts."""
    site = await make_site(
        {"company": server.dsn(READER, database)},
        policy=POLICY,
        tags=("hidden",),
        tagged=HIDDEN,
        writers={"company": server.dsn(WRITER, database)},
        accepted_powers=(),
        limits={"timeout_s": 3},
        more="[changes]\nlock_timeout_s = 1.5",
        **wishes,
    )
    async with AsyncExitStack() as stack:
        house = await stack.enter_async_context(open_house(site.config, lambda _: None))
        admin = await asyncpg.connect(server.dsn(database=database))
        stack.push_async_callback(admin.close)
        yield Company(site, database, house, admin, stack)
