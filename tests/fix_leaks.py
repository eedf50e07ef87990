"""A house with masks and row rules in two databases that differ in what these withhold, and its agents.

What is judged is the reply: it holds no canary, and it is the same whichever of the two
databases answers. Cases are data in tests/cases/leaks.
"""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace

import fix_attacks
from fix_attacks import CASES, PATIENCE_S, Attack, Secrets, filled
from fix_doors import answer
from fix_postgres import PostgresServer
from fix_server import MakeSite, Site
from mcp import Client, MCPError

from ostiary.app import House, open_house
from ostiary.mcp_app import McpApp
from ostiary_policies.model import Principal
from ostiary_tools.view import hash_key

FOLDER = CASES / "leaks"
POLICY = (FOLDER / "house.cedar").read_text("utf-8")
VARIANTS = ("one", "two", "three", "four", "five", "six")
"""Roles under row rules of so many operators."""
OTHERS = ("exporter", "watcher", "thrifty", "lean")
"""Roles at other doors."""
COLUMNS = {
    "email": ("'u@email@1' || chr(64) || 'mail.example'", "'u5'"),
    "phone": ("'+47@phone@5309'", "'+475'"),
    "card": ("'4@card@'", "'45'"),
    "code": ("'QX@code@1'", "'QX5'"),
    "city": ("'@city@1'", "'5'"),
    "notes": ("'@notes@1'", "'5'"),
    "born": ("date '19@born@'", "date '1961-07-01'"),
    "hired": ("timestamptz '20@hired@ 10:00+00'", "timestamptz '2011-05-15 00:00+00'"),
    "salary": ("(@salary@00 + 1)::numeric", "550000000::numeric"),
    "bonus": ("@bonus@", "500000000"),
    "rating": ("(@rating@00.5 + 1)::double precision", "5e9::double precision"),
    "token": ("'@token@1'", "'5'"),
    "pin": ("(@pin@00 + 1)", "500000000"),
}
"""Masked columns of `people`, and two that are hidden → what the first database holds there, and what stands between both."""


@dataclass(frozen=True)
class World:
    """One of the two databases and what is drawn for it."""

    database: str
    canaries: Secrets
    factor: str
    """How much more of what is withheld there is: 1 or 3."""

    @property
    def places(self) -> dict[str, str]:
        """Text of each place in the fixture and in the cases."""
        return {f"@{name}@": value for name, value in {**self.canaries.drawn, "factor": self.factor}.items()}

    def build(self, server: PostgresServer) -> None:
        """Make the database."""
        server.sql(f"CREATE DATABASE {self.database}")
        lines = (FOLDER / "house.sql").read_text("utf-8").splitlines()
        kept = (line.removeprefix("|") for line in lines if self.factor != "1" or not line.startswith("|"))
        server.sql(filled("\n".join(kept), self.places), self.database)


@dataclass(frozen=True)
class Probe:
    """A case, and the role of the agent that tries it."""

    attack: Attack
    role: str = VARIANTS[0]

    @property
    def title(self) -> str:
        """Of the case and its variant."""
        return f"{self.attack.title} ({self.role})"


@contextmanager
def worlds(server: PostgresServer) -> Iterator[tuple[World, World]]:
    """Both databases, while the block lasts."""
    key = secrets.token_hex(24)
    ends = secrets.token_hex(3)
    pair = (
        World(f"leaks_a_{ends}", Secrets("1", _drawn("1", key)), "1"),
        World(f"leaks_b_{ends}", Secrets("9", _drawn("9", key)), "3"),
    )
    try:
        for world in pair:
            world.build(server)
        yield pair
    finally:
        for world in pair:
            server.sql(f"DROP DATABASE IF EXISTS {world.database} WITH (FORCE)")


_TEXTS = (
    "email", "badge",
    "code", "city", "notes", "token", "profile", "langs", "bytes", "uuid", "owner", "title", "body", "slug", "event",
    "serial", "extra", "comment", "kind",
)  # fmt: skip
_NUMBERS = {"phone": 11, "card": 14, "bonus": 8, "rating": 7, "pin": 6, "amount": 6}
"""Digits drawn after the first."""


def _drawn(first: str, key: str) -> dict[str, str]:
    """Every canary; what is withheld of the second database comes after that of the first in every order."""
    found = {name: first + secrets.token_hex(15)[:29] for name in _TEXTS}
    found |= {name: first + _digits(count) for name, count in _NUMBERS.items()}
    later = first == "9"
    # As much of them as no mask shows, in eight characters.
    found["born"] = f"61-{11 if later else 2:02}-{10 + secrets.randbelow(18)}"
    found["hired"] = f"11-05-{(20 if later else 2) + secrets.randbelow(8):02}"
    found["salary"] = f"5{first}{_digits(5)}"
    return found | {"key": key, **dict(zip(("inner", "outer"), (half[2:] for half in hash_key(key)), strict=True))}


def _digits(count: int) -> str:
    return "".join(secrets.choice("0123456789") for _ in range(count))


def probes(first: World, variants: Sequence[str], columns: int) -> Iterator[Probe]:
    """Every case, those of rows by each of the variants, those of columns with so many columns each."""
    names = sorted(COLUMNS)
    for number, attack in enumerate(fix_attacks.attacks("leaks", {})):
        if attack.title.startswith("columns: "):
            for step in range(columns):
                name = names[(number + 5 * step) % len(names)]
                yield Probe(_with(attack, name, first))
            continue
        for role in _roles(attack, variants):
            yield Probe(replace(attack, call=filled(attack.call, first.places)), role)


def _roles(attack: Attack, variants: Sequence[str]) -> Sequence[str]:
    match attack.title.partition(":")[0]:
        case "rows":
            return variants
        case "costs":
            return ("thrifty", "lean")
        case _:
            return variants[:1]


def _with(attack: Attack, column: str, first: World) -> Attack:
    value, other = COLUMNS[column]
    places = {"{column}": column, "{value}": value, "{other}": other, "{plain}": value.strip("'")}
    call = filled(filled(attack.call, places), first.places)
    return replace(attack, title=f"{attack.title}: {{{column}}}", call=call)


@dataclass
class Doors:
    """A server before each world, and an agent of each role at both."""

    pair: tuple[World, World]
    sites: tuple[Site, Site]
    clients: dict[tuple[str, str], Client] = field(default_factory=dict)
    houses: list[House] = field(default_factory=list)

    async def raw(self, probe: Probe) -> tuple[str, str]:
        """What each world answers."""
        one, other = await asyncio.gather(*(self.reply(world, probe) for world in self.pair))
        return one, other

    async def reply(self, world: World, probe: Probe) -> str:
        """What one world answers."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await answer(self.clients[world.database, probe.role], probe.attack.call)
        except MCPError as error:
            return f"{error} {error.error}"
        except TimeoutError:
            return fix_attacks.HUNG

    async def replies(self, probe: Probe) -> tuple[str, str]:
        """What each world answers, without what is drawn for one reply."""
        one, other = await self.raw(probe)
        return self._plain(one), self._plain(other)

    def _plain(self, reply: str) -> str:
        for world in self.pair:
            reply = reply.replace(world.database, "house")
        return fix_attacks.plain(reply)

    async def leaks(self, probe: Probe) -> list[str]:
        """What came through, in words."""
        return leaks(self.pair, probe.attack, await self.replies(probe))

    async def canaries(self, probe: Probe) -> list[str]:
        """What came through where both worlds may differ."""
        return _canaries(self.pair, probe.attack, await self.replies(probe))


def leaks(pair: tuple[World, World], attack: Attack, replies: tuple[str, str]) -> list[str]:
    """What the replies of both worlds tell, in words."""
    found = _canaries(pair, attack, replies)
    if _numbered(replies[0]) != _numbered(replies[1]):
        found.append(f"tells the worlds apart: {replies[0][:400]!r} and {replies[1][:400]!r}")
    return found + [reply for reply in replies if reply == fix_attacks.HUNG]


def _client(house: House, who: Principal) -> Client:
    return Client(McpApp(house.gate, lambda _: who).server)


def _principal(role: str) -> Principal:
    return Principal("attacker", tuple(sorted(("agent", role))))


_HASHES = re.compile(r"\b[0-9a-f]{64}\b|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|(?<![0-9.])-?[0-9]{15,19}(?![0-9.])")


def _numbered(reply: str) -> str:
    """With a number for each hash, by its first place: which are equal may be told."""
    seen: dict[str, str] = {}
    return _HASHES.sub(lambda found: seen.setdefault(found[0], f"hash {len(seen)}"), reply)


def _canaries(pair: tuple[World, World], attack: Attack, replies: tuple[str, str]) -> list[str]:
    return [f"tells the {name}" for reply in replies if (name := fix_attacks.leaked(reply, (w.canaries for w in pair), attack))]


@asynccontextmanager
async def doors(
    pair: tuple[World, World],
    server: PostgresServer,
    make_site: MakeSite,
    policy: str = POLICY,
    roles: Sequence[str] = (*VARIANTS, *OTHERS),
    **wishes: str,
) -> AsyncIterator[Doors]:
    """Servers with that policy, and clients in each of the roles besides `agent`."""
    wishes = {"policy": policy, "mask_key": pair[0].canaries["key"], **wishes}
    sites = [await make_site({"shop": server.dsn(database=world.database)}, pool_max=2, **wishes) for world in pair]
    async with _opened(pair, (sites[0], sites[1]), roles) as opened:
        yield opened


@asynccontextmanager
async def doors_with_views(
    pair: tuple[World, World], server: PostgresServer, make_site: MakeSite, roles: Sequence[str]
) -> AsyncIterator[Doors]:
    """The same where policies are about tables that stand apart, and an agent finds a view in the place of each.

    The views have the columns that exist for the agent, and it may read all of them: only what holds inside keeps anything from it.
    """
    async with doors(pair, server, make_site, roles=roles[:1]) as opened:
        world = await opened.houses[0].worlds.world(opened.houses[0].policies.engine, _principal(roles[0]))
    view = world.view("shop")
    moved = "\n".join(f"ALTER TABLE {name} SET SCHEMA kept;" for _, name in view.snapshot.relations)
    made = "\n".join(
        f"CREATE VIEW {one.name} AS SELECT {', '.join(column.name for column in view.columns(one))} FROM kept.{one.name};"
        for one in view.relations()
        if one.resource("shop") in view.readable
    )
    for one in pair:
        server.sql(f"CREATE SCHEMA kept;\n{moved}\n{made}\n", one.database)
    policy = POLICY.replace("shop.public.", "shop.kept.").replace("shop::public::", "shop::kept::") + _READS_VIEWS
    async with doors(pair, server, make_site, policy, roles, views="as_queries") as opened:
        yield opened


_READS_VIEWS = """
@id("reads-views") permit (principal in Role::"agent", action == Action::"read", resource)
when { resource in Schema::"shop.public" };
"""


@asynccontextmanager
async def reopened(before: Doors) -> AsyncIterator[Doors]:
    """Servers anew before the same worlds, over the same control databases and what the policy files say now."""
    async with _opened(before.pair, before.sites, sorted({role for _, role in before.clients})) as opened:
        yield opened


@asynccontextmanager
async def _opened(pair: tuple[World, World], sites: tuple[Site, Site], roles: Sequence[str]) -> AsyncIterator[Doors]:
    async with AsyncExitStack() as stack:
        opened = Doors(pair, sites)
        for world, site in zip(pair, sites, strict=True):
            house = await stack.enter_async_context(open_house(site.config, lambda _: None))
            opened.houses.append(house)
            for role in roles:
                opened.clients[world.database, role] = await stack.enter_async_context(_client(house, _principal(role)))
        yield opened
