"""`@approval("human")` by real clients of both eras: nothing of a call runs before a human has said yes to what would run, once."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import mcp.types as t
import pytest
from fix_answers import text_of
from fix_gate import gate_with
from fix_postgres import ADMIN, PostgresServer
from fix_server import MakeSite, Site
from fix_waiting import until
from mcp import Client, MCPError
from pydantic import BaseModel

from ostiary.app import House, open_house
from ostiary.gate import Gate
from ostiary.mcp_app import McpApp
from ostiary_policies.attributes import AttributeType, attribute
from ostiary_policies.model import Permit, Principal
from ostiary_tools.api import Args, Form, Hints, Intent, Session, Surface, Text, World

ERAS = ("2026-07-28", "legacy")
SHOP = """
CREATE TABLE private (id integer PRIMARY KEY, name text);
INSERT INTO private SELECT n, 'canary ' || n FROM generate_series(1, 30) n;
CREATE TABLE public_ (id integer PRIMARY KEY);
"""
POLICY = """
@id("all") permit (principal in Role::"reader", action, resource);
@id("private-wants-a-yes") @approval("human")
permit (principal in Role::"reader", action == Action::"read", resource is Table) when { resource.name == "private" };
"""
READ = "select name from private where id = 7"
KEYS = ("k" * 32,)
YES = t.ElicitResult(action="accept", content={"approve": True})
NOT_YES = [
    t.ElicitResult(action="decline"),
    t.ElicitResult(action="cancel"),
    t.ElicitResult(action="accept", content={"approve": False}),
    t.ElicitResult(action="accept", content={}),
    t.ElicitResult(action="accept", content={"approve": "true"}),
]

Said = t.ElicitResult | Callable[[], Awaitable[t.ElicitResult]]


@dataclass
class Human:
    """Who sits at the client, with what it was asked."""

    said: Said = field(default_factory=lambda: YES)
    asked: list[str] = field(default_factory=list)

    async def __call__(self, _: Any, params: Any) -> t.ElicitResult:
        """The client's callback."""
        self.asked.append(params.message)
        return self.said if isinstance(self.said, t.ElicitResult) else await self.said()


@dataclass(frozen=True)
class Shop:
    """A server over a table that is private."""

    site: Site
    database: str
    house: House

    def client(
        self,
        human: Any,
        era: str = ERAS[0],
        agent: str = "ada",
        *,
        house: House | None = None,
        gate: Gate | None = None,
        region: str = "",
    ) -> Client:
        """An agent, and the human at its client if there is one."""
        house = house or self.house
        attributes = (attribute("region", AttributeType.TEXT, region),) if region else ()
        who = Principal(agent, ("reader",), attributes)
        app = McpApp(gate or house.gate, lambda _: who, jobs=house.jobs, state_keys=KEYS)
        return Client(app.server, mode=era, elicitation_callback=human)

    async def owner(self, statement: str) -> None:
        """The database's owner does something."""
        connection = await asyncpg.connect(self.site.server.dsn(database=self.database))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def policy(self, text: str) -> None:
        """Other policies come into force."""
        (self.site.folder / "policies" / "own.cedar").write_text(text)
        self.house.policies.put_in_force(self.house.policies.judged(self.house.policies.look()))

    async def decisions(self) -> list[tuple[str, str]]:
        """Decision and reason of each call of `query`, in order."""
        return [(r["decision"], r.get("reason", "")) for r in await self.site.records() if "decision" in r and r["tool"] == "query"]


OpenShop = Callable[..., Any]


@pytest.fixture
def shop(make_site: MakeSite, make_database: Callable[[str], Awaitable[str]], postgres_server: PostgresServer) -> OpenShop:
    @asynccontextmanager
    async def opened(policy: str = POLICY, **wishes: Any) -> AsyncIterator[Shop]:
        database = await make_database(SHOP)
        site = await make_site({"shop": postgres_server.dsn(database=database)}, policy=policy, **wishes)
        async with open_house(site.config, lambda _: None) as house:
            yield Shop(site, database, house)

    return opened


async def query(client: Client, sql: str = READ, **more: Any) -> str:
    return text_of(await client.call_tool("query", {"sql": sql, **more} if sql else more))


async def ask(client: Client, sql: str = READ, tool: str = "query", **more: Any) -> str:
    """The state that comes with the question, in the modern era."""
    reply = await client.session.call_tool(tool, {"sql": sql, **more}, allow_input_required=True)
    assert isinstance(reply, t.InputRequiredResult), text_of(reply)
    assert reply.request_state, "nobody could answer a question without its state"
    return reply.request_state


async def answer(client: Client, state: str, sql: str = READ, said: t.ElicitResult = YES) -> str:
    """The text of what the call came to, or `asked` where it came to a question."""
    reply = await client.session.call_tool(
        "query", {"sql": sql}, input_responses={"approve": said}, request_state=state, allow_input_required=True
    )
    return text_of(reply) if isinstance(reply, t.CallToolResult) else "asked"


@pytest.mark.asyncio
@pytest.mark.parametrize("era", ERAS)
async def test_a_yes_lets_the_call_run_and_is_on_record_and_all_else_does_not(shop: OpenShop, era: str):
    async with shop() as opened:
        human = Human()
        async with opened.client(human, era) as client:
            read = await query(client)
            free = await query(client, "select id from public_")
        refused = []
        for said in NOT_YES:
            async with opened.client(Human(said), era) as client:
                refused.append(await query(client))
        async with opened.client(None, era) as client:
            unasked = await query(client)
        records = [record for record in await opened.site.records() if record.get("tool") == "query"]
    assert "canary 7" in read
    assert free.startswith("<data-")
    assert len(human.asked) == 1
    assert {text.partition("\n")[0] for text in refused} == {
        "not_approved: it was not approved; rule `private-wants-a-yes` wants a human's approval"
    }
    assert unasked.startswith("approval_waiting: rule `private-wants-a-yes` wants a human's approval; it waits for people until ")
    assert not [text for text in (*refused, unasked) if "canary" in text]
    intents = [record for record in records if record["kind"] == "i"]
    assert [sorted(record.get("approval", {})) for record in intents] == [
        ["by", "number", "question"] if era == ERAS[0] else ["by", "question"],
        [],
    ]
    assert intents[0]["obligations"] == {"approval": "human"}
    denied = {(record["decision"], record["reason"]) for record in records if record["kind"] == "d"}
    assert {reason for decision, reason in denied if decision == "deny"} == {
        "it was not approved; rule `private-wants-a-yes` wants a human's approval",
    }
    assert {reason for decision, reason in denied if decision == "asked"} == {
        "a human was asked",
        unasked.partition("\n")[0].removeprefix("approval_waiting: "),
    }


@pytest.mark.asyncio
async def test_each_answer_counts_once_for_that_call_of_that_agent_at_any_process(shop: OpenShop):
    async with (
        shop() as opened,
        open_house(opened.site.config, lambda _: None) as other,
        opened.client(Human()) as one,
        opened.client(Human(), house=other) as two,
        opened.client(Human(), agent="eve") as eve,
        opened.client(Human(), region="eu") as moved,
    ):
        state = await ask(one)
        others = [await answer(client, state) for client in (eve, moved)]
        with pytest.raises(MCPError, match="Invalid or expired requestState"):
            await answer(one, state, "select name from private where id = 8")
        elsewhere = await answer(two, state)
        again = [await answer(client, state) for client in (one, two)]
        declined = await ask(one)
        no = await answer(one, declined, said=NOT_YES[0])
        turned = await answer(two, declined)
        at_once = []
        for _ in range(5):
            state = await ask(one)
            at_once.append(await asyncio.gather(*(answer(client, state) for client in (one, two, one, two))))
        unasked = await one.session.call_tool("query", {"sql": READ}, input_responses={"approve": YES}, allow_input_required=True)
        decisions = await opened.decisions()
    assert others == ["asked", "asked"]
    assert "canary 7" in elsewhere
    used = "refused: this question was answered already"
    assert {text.partition("\n")[0] for text in (*again, turned)} == {used}
    assert no.startswith("not_approved: it was not approved")
    for replies in at_once:
        assert sorted(reply.partition("\n")[0] == used for reply in replies) == [False, True, True, True]
        assert sum("canary 7" in reply for reply in replies) == 1
    assert isinstance(unasked, t.InputRequiredResult)
    # The answer was refused, not the call denied.
    decided = [decision for decision, reason in decisions if reason == used.removeprefix("refused: ")]
    assert set(decided) == {"refused"}


@pytest.mark.asyncio
@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("change", ["policy", "schema"])
async def test_what_changed_between_question_and_answer_is_not_approved(shop: OpenShop, era: str, change: str):
    async with shop() as opened:

        async def change_first() -> t.ElicitResult:
            if change == "policy":
                await opened.policy(POLICY + '@id("more") permit (principal in Role::"other", action, resource);')
            else:
                await opened.owner("CREATE TABLE another (id integer)")
                await opened.house.datasources["shop"].refresh()
            return YES

        human = Human(change_first)
        async with opened.client(human, era) as client:
            if era == "legacy":
                reply = await query(client)
            else:
                state = await ask(client)
                await change_first()
                reply = await answer(client, state)
    # Who comes again with the answer is asked again; who has waited is told.
    assert reply.partition("\n")[0] == ("asked" if era == ERAS[0] else "not_approved: what was approved has changed meanwhile")


@pytest.mark.asyncio
async def test_what_policy_takes_away_while_a_human_thinks_is_denied(shop: OpenShop):
    async with shop() as opened:

        async def forbid_first() -> t.ElicitResult:
            await opened.policy(POLICY + '@id("closed") forbid (principal, action == Action::"read", resource);')
            return YES

        async with opened.client(Human(forbid_first), "legacy") as client:
            reply = await query(client)
    assert reply.startswith("denied: ")
    assert "rule: closed" in reply


HOSTILE = [
    "yes\n\nThis call was checked by the administrator.\n\nA yes is good for this call alone, once.",
    "\r\x1b[2J\x1b[1;1HThe agent `ada` (reader) wants to call `whoami`.\b\b\b",
    "\u202etxet desrever\u2066\u200b\u00a0\u2028\u2029\x85",
    " " * 300 + "rule `none` wants nothing: is it to run?",
]


@pytest.mark.asyncio
async def test_no_text_of_an_agent_leaves_its_lines_in_the_question(shop: OpenShop):
    asked_about: list[tuple[str, str]] = []
    async with shop() as opened:
        for era in ERAS:
            human = Human()
            async with opened.client(human, era) as client:
                for hostile in HOSTILE:
                    assert (await query(client, f"select name from private where name <> '{hostile}'")).startswith("<data-")
                    assert (await query(client, "select $1, id from private", params=[hostile])).startswith("<data-")
            asked_about += zip([one for one in HOSTILE for _ in range(2)], human.asked, strict=True)
    for hostile, asked in asked_about:
        lines = asked.split("\n")
        barred = [line for line in lines if line.startswith("| ")]
        assert [line for line in lines if not line.startswith("| ")] == [
            "The agent `ada` (reader) wants to call `query` on `shop`.",
            "Rule `private-wants-a-yes` wants a human's approval: is it to run?",
            "",
            "This is all that would run. Lines with a bar are the agent's words and data, whatever they claim:",
            "",
            "A yes is good for this call alone, once.",
        ]
        assert all(line.isprintable() and len(line) <= 102 for line in lines)
        shown = "".join(line.removeprefix("| ") for line in barred)
        assert "".join(char if char.isprintable() else f"<U+{ord(char):04X}>" for char in hostile) in shown


@pytest.mark.asyncio
async def test_what_cannot_be_shown_whole_is_not_asked_about(shop: OpenShop):
    async with shop() as opened:
        human = Human()
        async with opened.client(human, "legacy") as client:
            by_text = await query(client, f"select name from private where name <> '{'x' * 5_000}'")
            by_value = await query(client, "select name from private where name <> $1", params=["x" * 5_000])
            fits = await query(client, f"select count(*) from private where name <> '{'x' * 3_000}'")
    assert {text.partition(";")[0] for text in (by_text, by_value)} == {
        "not_approved: it is longer than a human can be shown (4000 characters)"
    }
    assert fits.startswith("<data-")
    assert len(human.asked) == 1


@pytest.mark.asyncio
async def test_each_page_is_approved_by_itself(shop: OpenShop):
    async with shop(limits={"rows": 20}) as opened:
        human = Human()
        async with opened.client(human) as client:
            first = await query(client, "select id from private order by id")
            cursor = first.partition('cursor="')[2].partition('"')[0]
            second = await query(client, "", cursor=cursor)
        async with opened.client(Human(NOT_YES[0])) as client:
            refused = await query(client, "", cursor=cursor)
    assert "\n20\n" in first
    assert "\n30\n" in second
    assert len(human.asked) == 2
    assert "page" in human.asked[1]
    assert refused.startswith("not_approved: it was not approved")


@pytest.mark.asyncio
@pytest.mark.parametrize("era", ERAS)
async def test_a_job_is_asked_about_before_it_is_one(shop: OpenShop, era: str):
    async with shop() as opened:
        human = Human()
        async with opened.client(human, era) as client:
            begun = text_of(await client.call_tool("export", {"sql": READ, "name": "n", "job": True}))
        async with opened.client(Human(NOT_YES[0]), era) as client:
            refused = text_of(await client.call_tool("export", {"sql": READ, "name": "m", "job": True}))
    assert "job(id=" in begun
    assert [line for line in human.asked[0].split("\n") if line.startswith("| name = ")] == ['| name = "n"']
    assert refused.startswith("not_approved: it was not approved")


@pytest.mark.asyncio
async def test_where_nobody_can_be_asked_the_call_is_refused(shop: OpenShop):
    policy = (
        POLICY
        + """
@id("shown-by-a-yes") @approval("human") permit (principal in Role::"reader", action == Action::"see", resource is Table)
when { resource.name == "private" };
"""
    )
    async with shop(policy) as opened, opened.client(Human()) as client:
        with pytest.raises(MCPError, match="rule `shown-by-a-yes` wants a human's approval, and here nobody can be asked"):
            await client.read_resource("schema://shop/public/private")


@pytest.mark.asyncio
async def test_nothing_is_held_and_nothing_runs_while_a_human_thinks(shop: OpenShop):
    policy = POLICY.replace('@id("all")', '@id("all") @budget_calls("9/day") @budget_rows("100/day")')
    async with shop(policy) as opened:
        seen: list[Any] = []

        async def look_first() -> t.ElicitResult:
            pool = opened.house.datasources["shop"]
            await until(lambda: pool.state().size == pool.state().idle)  # the catalog may be looked at
            seen.extend(await opened.site.fetch("SELECT * FROM budgets.spent", role=ADMIN))
            seen.extend(record for record in await opened.site.records() if record["kind"] == "i")
            return YES

        async with opened.client(Human(look_first), "legacy") as client:
            assert "canary 7" in await query(client)
    assert seen == []


@pytest.mark.asyncio
async def test_a_client_that_gives_up_while_the_question_stands_leaves_the_question_on_record(shop: OpenShop):
    async with shop() as opened:
        asked = asyncio.Event()

        async def think() -> t.ElicitResult:
            asked.set()
            await asyncio.Event().wait()
            raise AssertionError

        async with opened.client(Human(think), "legacy") as client:
            call = asyncio.create_task(query(client))
            async with asyncio.timeout(30):
                await asked.wait()
            before = await opened.decisions()
            call.cancel()
            await asyncio.wait({call})
            async with asyncio.timeout(30):
                await opened.house.gate.crowd.gone()
        kinds = [record["kind"] for record in await opened.site.records() if record.get("tool") == "query"]
    assert before == [("asked", "a human was asked")]
    assert kinds == ["d"]


@pytest.mark.asyncio
async def test_who_waits_for_a_human_holds_a_place_of_the_agent_and_none_of_the_server(shop: OpenShop):
    async with shop(limits={"calls": 1, "calls_per_agent": 1}) as opened:
        meanwhile: list[str] = []

        async def let_others_first() -> t.ElicitResult:
            for agent in ("ada", "eve"):
                async with opened.client(None, agent=agent) as other:
                    meanwhile.append(await query(other, "select 41 + 1 as n"))
            return YES

        async with opened.client(Human(let_others_first), "legacy") as client:
            read = await query(client)
    assert meanwhile[0].startswith("busy: 1 calls of yours run already")
    assert "42" in meanwhile[1]
    assert "canary 7" in read


@pytest.mark.asyncio
async def test_a_tool_that_waits_for_its_own_question_lends_the_servers_place_too(shop: OpenShop):
    async with shop(limits={"calls": 1, "calls_per_agent": 1}) as opened:
        gate = gate_with(opened.house, _Launch())
        meanwhile: list[str] = []

        async def let_another_first(_: Any, params: Any) -> t.ElicitResult:
            if params.message != "Sure?":
                return t.ElicitResult(action="accept", content={"size": 4})
            async with opened.client(None, agent="eve", gate=gate) as other:
                meanwhile.append(await query(other, "select 41 + 1 as n"))
            return YES

        async with opened.client(let_another_first, "legacy", gate=gate) as client:
            reply = text_of(await client.call_tool("launch", {"what": "x"}))
    assert "42" in meanwhile[0]
    assert reply == "launched 4"


@pytest.mark.asyncio
async def test_agents_are_told_before_that_a_human_is_asked(shop: OpenShop):
    async with shop() as opened, opened.client(None) as client:
        who = text_of(await client.call_tool("whoami", {}))
        table, other = [text_of(await client.call_tool("describe", {"tables": [name]})) for name in ("private", "public_")]
        prompt = await client.get_prompt("question_to_sql", {"question": "names in private"})
    assert "\na human is asked before reads of: shop: public.private\n" in who
    assert "\na human is asked before any read\n" in table
    assert "human" not in other
    assert "canary" not in str(prompt)


@pytest.mark.asyncio
async def test_a_tool_that_asks_besides_is_asked_about_once_each_and_no_answer_counts_again(shop: OpenShop):
    """In the modern era each question is a request: later ones bring back what earlier ones were answered with."""
    launches = '@id("launches") @approval("human") permit (principal in Role::"reader", action, resource == Tool::"launch");'
    async with shop(POLICY + launches) as opened:
        gate = gate_with(opened.house, _Launch())
        for era in ERAS:
            asked: list[str] = []

            async def human(_: Any, params: Any, asked: list[str] = asked) -> t.ElicitResult:
                asked.append(params.message.partition("\n")[0])
                return t.ElicitResult(
                    action="accept", content={"size": 4} if params.message == "Which size?" else {"approve": True}
                )

            async with opened.client(human, era, gate=gate) as client:
                reply = text_of(await client.call_tool("launch", {"what": "x"}))
            assert reply == "launched 4"
            assert asked == ["Which size?", "The agent `ada` (reader) wants to call `launch`.", "Sure?"]
        async with opened.client(Human(), gate=gate) as client:
            state: str | None = None
            replies: list[list[Any]] = []
            for said in ({}, {"choice": t.ElicitResult(action="accept", content={"size": 5})}, {"approve": YES}, {"approve": YES}):
                replies.append([await _launch(client, state, said) for _ in range(2)])
                state = next((reply.request_state for reply in replies[-1] if isinstance(reply, t.InputRequiredResult)), None)
    last = [text_of(reply) for reply in replies[-1]]
    assert last[0] == "launched 5"
    assert last[1].startswith("refused: this question was answered already")
    assert isinstance(replies[-2][1], t.CallToolResult)
    assert text_of(replies[-2][1]).startswith("refused: this question was answered already")


async def _launch(client: Client, state: str | None, said: dict[str, Any]) -> Any:
    return await client.session.call_tool(
        "launch", {"what": "x"}, input_responses=said, request_state=state, allow_input_required=True
    )


class _Choice(BaseModel):
    size: int


class _LaunchArgs(Args):
    what: str


class _Launch:
    """Asks while it is planned and while it runs."""

    name, title, description, surface, hints, args = "launch", "Launch", "Launches.", Surface.TOOL, Hints(), _LaunchArgs

    def plan(self, args: _LaunchArgs, world: World) -> Intent:
        answer = world.client.ask({"choice": Form("Which size?", _Choice)})["choice"]
        return Intent(self.name, args.model_dump(mode="json") | {"size": answer.value.size})

    async def run(self, permit: Permit, session: Session) -> Text:
        return Text(f"launched {permit.intent.arguments['size']}" if await session.approve("Sure?") else "kept")
