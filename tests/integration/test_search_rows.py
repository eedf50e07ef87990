"""Collections of rows: a search finds what its caller could read, shows it as read by that caller, and tells of nothing else."""

import asyncio
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import asyncpg
import pytest
from fix_postgres import PostgresServer
from fix_search import BROUGHT, STORE, Document, Shelf, client_of, collection, found, refused, said, shelved

from ostiary.app import House
from ostiary_policies.attributes import Attribute, AttributeType, attribute
from ostiary_tools.searching import ranking
from ostiary_tools.vectors.collection import Collection, Layout, Source
from ostiary_tools.vectors.opening import open_stores

ROWS = 400
WORDS = ["red", "green", "blue", "apple", "pear", "plum", "house", "river", "stone", "cloud"]
REGIONS = ("north", "south", "east", "west")
SCHEMA = """
CREATE TABLE notes (id integer PRIMARY KEY, title text, body text NOT NULL, region text, level integer, year integer, pay integer);
CREATE TABLE pins (id integer PRIMARY KEY, body text, code text);
INSERT INTO pins VALUES (1, 'red stone', 'canary');
"""
SOURCE = Source(
    "shop",
    "SELECT id, title, body, region, level, year, pay FROM public.notes",
    "id",
    "{title}: {body}",
    ("region", "level", "year", "pay"),
)
PINS = Source("shop", "SELECT id, body, code FROM public.pins", "id", "{body} {code}")
POLICY = """
@id("calls") permit (principal in Role::"reader", action == Action::"call", resource);
@id("searches") permit (principal in Role::"reader", action == Action::"search", resource);
@id("sees") permit (principal in Role::"reader", action == Action::"see", resource)
unless { resource is Column && resource.name == "code" };
@id("reads") permit (principal in Role::"reader", action == Action::"read", resource)
unless { resource is Column && resource.tags.contains("pii") };
@id("reads-pay") permit (principal in Role::"payroll", action == Action::"read", resource == Column::"shop.public.notes.pay");
@id("masks-pay") @mask("null") permit (principal in Role::"masked", action == Action::"read_masked",
    resource == Column::"shop.public.notes.pay");
@id("no-titles") forbid (principal in Role::"untitled", action == Action::"read", resource == Column::"shop.public.notes.title");
@id("masks-titles") @mask("null") permit (principal in Role::"untitled", action == Action::"read_masked",
    resource == Column::"shop.public.notes.title");
@id("nothing") forbid (principal in Role::"barred", action == Action::"read", resource == Table::"shop.public.notes");
@id("few") @limit_rows("4") permit (principal in Role::"limited", action == Action::"read", resource == Table::"shop.public.notes");
@id("rows-all") permit (principal in Role::"everything", action == Action::"read_row", resource is shop::public::notes);
@id("rows-of-regions") permit (principal in Role::"reader", action == Action::"read_row", resource is shop::public::notes)
when { principal has regions && resource has region && principal.regions.contains(resource.region) };
@id("rows-above") forbid (principal, action == Action::"read_row", resource is shop::public::notes)
when { principal has level && resource has level && resource.level > principal.level };
"""
ATTRIBUTES = """
[attributes.regions]
type = "texts"
[attributes.level]
type = "integer"
"""


@dataclass(frozen=True)
class Note:
    """A row and its vector."""

    id: int
    title: str | None
    body: str
    region: str | None
    level: int | None
    year: int
    pay: int
    vector: tuple[float, ...]

    @property
    def words(self) -> set[str]:
        """As they are searched."""
        return {*(self.title or "").split(), *self.body.split()}

    @property
    def kept(self) -> dict[str, Any]:
        """Metadata in the store."""
        given = {"region": self.region, "level": self.level, "year": self.year, "pay": self.pay}
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class Agent:
    """Who asks."""

    roles: tuple[str, ...]
    regions: tuple[str, ...] | None
    level: int | None

    @property
    def attributes(self) -> tuple[Attribute, ...]:
        """As identity gives them."""
        given = [attribute("regions", AttributeType.TEXTS, list(self.regions))] if self.regions is not None else []
        return (*given, *([attribute("level", AttributeType.INTEGER, self.level)] if self.level is not None else []))

    def has(self, note: Note) -> bool:
        """By the rules, in words of Python."""
        permitted = "everything" in self.roles or (self.regions is not None and note.region in self.regions)
        return permitted and not (self.level is not None and note.level is not None and note.level > self.level)


def notes(seed: int, count: int = ROWS) -> list[Note]:
    rng = Random(seed)  # noqa: S311  cases, and no secrets
    return [
        Note(
            number,
            rng.choice([None, *WORDS]),
            " ".join(rng.choices(WORDS, k=rng.randint(1, 6))),
            rng.choice([None, *REGIONS, "north", "north"]),
            rng.choice([None, 0, 1, 2, 3]),
            rng.randint(2000, 2005),
            rng.randint(1, 3),
            tuple(rng.gauss(0, 1) for _ in range(8)),
        )
        for number in range(count)
    ]


async def written(shelf: Shelf, rows: Sequence[Note]) -> None:
    """What the table holds from now on."""
    connection = await asyncpg.connect(shelf.site.server.dsn(database=shelf.source))
    try:
        await connection.execute("TRUNCATE notes")
        values = [(one.id, one.title, one.body, one.region, one.level, one.year, one.pay) for one in rows]
        await connection.copy_records_to_table("notes", records=values)
        await connection.execute("ANALYZE")
    finally:
        await connection.close()


async def filled(shelf: Shelf, rows: Sequence[Note], name: str = "notes", **more: Any) -> Collection:
    """The table, and a new collection of its rows."""
    await written(shelf, rows)
    one = collection(name, BROUGHT, source=SOURCE, **more)
    await shelf.keep(one, [_document(note) for note in rows])
    return one


def _document(note: Note) -> Document:
    """As it would be indexed; every third has two chunks, which are one row."""
    chunks = 2 if note.id % 3 == 0 else 1
    return Document(str(note.id), [f"{note.title or ''}: {note.body}"] * chunks, note.kept, [note.vector] * chunks)


@pytest.fixture(scope="module")
def shelf(postgres_server: PostgresServer, audit_template: str) -> Iterator[Shelf]:
    tagged = {"public.notes.pay": ["pii"]}
    with shelved(postgres_server, audit_template, SCHEMA, policy=POLICY, tagged=tagged, more=ATTRIBUTES) as made:
        asyncio.run(filled(made, notes(1)))
        asyncio.run(made.keep(collection("pins", BROUGHT, source=PINS), [Document("1", ["red stone canary"], {}, [[1.0] * 8])]))
        yield made


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True)) / (math.hypot(*one) * math.hypot(*other))


def someone(rng: Random) -> Agent:
    roles = [role for role in ("everything", "payroll", "masked") if rng.random() < 0.3]
    regions = None if rng.random() < 0.2 else tuple(sorted(rng.sample(REGIONS, rng.randint(0, 3))))
    return Agent(tuple(sorted({"reader", *roles})), regions, rng.choice([None, None, 0, 1, 2]))


FILTERS: list[tuple[dict[str, Any], Any]] = [
    ({}, lambda _: True),
    ({"field": "year", "ge": 2003}, lambda note: note.year >= 2003),
    ({"field": "region", "in": ["north", "east"]}, lambda note: note.region in ("north", "east")),
    ({"field": "level", "null": True}, lambda note: note.level is None),
    ({"not": {"field": "level", "eq": 0}}, lambda note: note.level is not None and note.level != 0),
    ({"or": [{"field": "region", "eq": "west"}, {"field": "year", "eq": 2000}]}, lambda n: n.region == "west" or n.year == 2000),
]


async def oracle(shelf: Shelf, rows: Sequence[Note], seed: int, count: int, *, exact: bool = True) -> None:
    """So many agents and questions, each held against plain Python over all rows; the order of an index may be another."""
    rng = Random(seed)  # noqa: S311  cases, and no secrets
    await written(shelf, rows)
    async with shelf.house() as house:
        for number in range(count):
            agent = someone(rng)
            problem = await wrong(house, rows, agent, rng, exact=exact)
            assert not problem, f"seed {seed}, question {number}, {agent}: {problem}"


async def wrong(house: House, rows: Sequence[Note], agent: Agent, rng: Random, *, exact: bool) -> str:
    condition, fits = rng.choice(FILTERS)
    mode, k = rng.choice(["vector", "hybrid", "text"]), rng.choice([1, 3, 10, 100])
    vector, words = [rng.gauss(0, 1) for _ in range(8)], rng.sample(WORDS, 2)
    asked: dict[str, Any] = {"mode": mode, "k": k, "filter": condition}
    asked |= {"vector": vector} if mode != "text" else {}
    asked |= {"text": " ".join(words)} if mode != "vector" else {}
    asked |= {"diversity": 0.5} if rng.random() < 0.2 else {}
    async with client_of(house, *agent.attributes, roles=agent.roles) as client:
        result = await found(client, collection="notes", **asked)
    may = {str(note.id): note for note in rows if agent.has(note) and fits(note)}
    if mode == "text":
        may = {key: note for key, note in may.items() if note.words.intersection(words)}
    if hidden := set(result.ids) - may.keys():
        return f"{asked}: {hidden} are none of its rows"
    if len(result.ids) != min(k, len(may)) or len(set(result.ids)) != len(result.ids):
        return f"{asked}: {len(result.ids)} hits where there are {len(may)}"
    if bad := [hit for hit in result.hits if not as_read(hit, may[hit["id"]], agent)]:
        return f"{asked}: {bad[0]} is not shown as it is read"
    near = sorted(may, key=lambda key: -cosine(vector, may[key].vector))
    if exact and mode == "vector" and "diversity" not in asked and result.ids != near[:k]:
        return f"{asked}: {result.ids} instead of {near[:k]}"
    return ""


def as_read(hit: Mapping[str, str], note: Note, agent: Agent) -> bool:
    """The columns, as the agent would have them from a query."""
    told = {"region": note.region or "", "level": "" if note.level is None else str(note.level), "year": str(note.year)}
    if "payroll" in agent.roles:
        told["pay"] = str(note.pay)
    elif "masked" in agent.roles:
        told["pay"] = ""
    own = ("id", "score", "vector", "text", "snippet")
    return hit["snippet"] == f"{note.title or ''}: {note.body}" and {n: v for n, v in hit.items() if n not in own} == told


@pytest.mark.asyncio
async def test_no_hit_is_of_a_hidden_row_no_mask_is_lifted_and_none_is_missing(shelf: Shelf):
    await oracle(shelf, notes(1), seed=20, count=30)


@pytest.mark.asyncio
async def test_the_same_holds_in_chroma(postgres_server: PostgresServer, audit_template: str):
    tagged = {"public.notes.pay": ["pii"]}
    wishes: dict[str, Any] = {"policy": POLICY, "tagged": tagged, "more": ATTRIBUTES, "kind": "chroma"}
    with shelved(postgres_server, audit_template, SCHEMA, **wishes) as shelf:
        rows = notes(5, 100)
        await filled(shelf, rows, layout=Layout())
        await oracle(shelf, rows, seed=21, count=10)


@pytest.mark.slow
@pytest.mark.asyncio
async def test_the_same_holds_where_an_index_finds_the_nearest(postgres_server: PostgresServer, audit_template: str):
    tagged = {"public.notes.pay": ["pii"]}
    with shelved(postgres_server, audit_template, SCHEMA, policy=POLICY, tagged=tagged, more=ATTRIBUTES) as shelf:
        rows = notes(6, 5_000)
        one = await filled(shelf, rows, layout=Layout())
        async with open_stores([shelf.store]) as stores:
            await stores[STORE].build(one, Layout(), quiet)
        await oracle(shelf, rows, seed=22, count=40, exact=False)


async def quiet(_done: float, _total: float | None, _message: str) -> None:
    """Nobody asked how far it is."""


@pytest.mark.slow
@pytest.mark.asyncio
@pytest.mark.parametrize("seed", range(5))
async def test_no_hit_is_of_a_hidden_row_no_mask_is_lifted_and_none_is_missing_at_length(shelf: Shelf, seed: int):
    await oracle(shelf, notes(1), seed=seed, count=100)


def everything(*roles: str) -> Agent:
    return Agent(tuple(sorted({"reader", "everything", *roles})), None, None)


async def answers(house: House, agent: Agent, *asked: Mapping[str, Any]) -> list[str]:
    """What `search` says to each, without the name of the fence, which is drawn."""
    async with client_of(house, *agent.attributes, roles=agent.roles) as client:
        told = [(await said(client, **{"collection": "notes", **one}))[0] for one in asked]
    return [re.sub("data-[0-9a-f]{6}", "data", text) for text in told]


QUESTIONS: list[dict[str, Any]] = [
    {"vector": [1.0] * 8, "k": 20},
    {"vector": [1.0] * 8, "text": "red stone", "k": 100},
    {"text": "red stone", "mode": "text", "k": 7, "offset": 3},
    {"text": "river unseen", "mode": "text", "k": 100},
    {"vector": [1.0] * 8, "text": "the river", "k": 5, "diversity": 0.4, "min_score": 0.2},
    {"vector": [1.0] * 8, "k": 10, "filter": {"field": "year", "ge": 2003}},
    {"like": ["1"], "unlike": ["2"], "k": 9},
    {"like": ["999"]},
]


@pytest.mark.asyncio
async def test_what_is_hidden_changes_no_byte_of_an_answer(postgres_server: PostgresServer, audit_template: str):
    """Two installations that differ in rows that the agent has not: none at all, or many with the words that are asked."""
    seen = [replace(note, region="north", level=None) for note in notes(3, 60)]
    unseen = [
        replace(note, id=note.id + 1_000, region="south", body=f"{note.body} stone stone unseen stones") for note in notes(4, 1_100)
    ]
    agent = Agent(("reader",), ("north",), None)
    told = []
    for rows in (seen, [*unseen, *seen, replace(unseen[0], id=999)]):
        with shelved(postgres_server, audit_template, SCHEMA, policy=POLICY, more=ATTRIBUTES) as shelf:
            await filled(shelf, rows)
            async with shelf.house() as house:
                told.append(await answers(house, agent, *QUESTIONS))
    assert told[0] == told[1]
    assert "20 hits; next: offset 20" in told[0][0]
    assert told[0][-1].startswith("refused: `like`")


@pytest.mark.asyncio
async def test_the_one_row_of_many_is_found_wherever_it_ranks(shelf: Shelf):
    rows = notes(1)
    only = replace(rows[7], id=7_777, region="island", level=None, vector=tuple(-1.0 for _ in range(8)))
    one = await filled(shelf, [*rows, only], "islands")
    async with shelf.asked(*Agent((), ("island",), None).attributes) as client:
        for asked in ({"vector": [1.0] * 8}, {"vector": [1.0] * 8, "text": "red"}, {"like": ["7777"], "vector": [1.0] * 8}):
            result = await found(client, collection=one.name, k=1, **asked)
            assert result.ids == ([] if "like" in asked else ["7777"])
            assert result.next is None


@pytest.mark.asyncio
async def test_what_may_not_be_read_is_refused_as_what_is_not_there(shelf: Shelf):
    await written(shelf, notes(1))
    vector: dict[str, Any] = {"vector": [1.0] * 8, "k": 1}
    of_pay, of_nothing = ({**vector, "filter": {"field": name, "eq": 1}} for name in ("pay", "gold"))
    async with shelf.house() as house:
        for roles in (("everything",), ("everything", "masked")):
            told = await answers(house, everything(*roles), of_pay, of_nothing)
            assert told[0] == told[1].replace("gold", "pay")
            assert "`region`, `level`, `year`" not in told[0]
            assert told[0].endswith("fields that you may ask for: region, level, year")
        [allowed] = await answers(house, everything("payroll"), of_pay)
        assert "1 hit" in allowed
        refusals = [
            (await answers(house, everything("untitled"), vector))[0],
            (await answers(house, everything(), {**vector, "collection": "pins"}))[0],
        ]
        assert refusals[0] == refusals[1]
        assert refusals[0].startswith("refused: the texts of this collection are made of what you may not read as it is")
        [barred] = await answers(house, everything("barred"), vector)
        assert barred.startswith("denied: you may not read table `public.notes`")


@pytest.mark.asyncio
async def test_a_row_is_shown_as_it_is_now_and_one_that_is_gone_is_no_hit(shelf: Shelf):
    rows = notes(1, 5)
    one = await filled(shelf, rows, "changing")
    connection = await asyncpg.connect(shelf.site.server.dsn(database=shelf.source))
    try:
        await connection.execute("UPDATE notes SET body = body || ' written anew', year = 1999 WHERE id = 0")
        await connection.execute("DELETE FROM notes WHERE id = 1")
    finally:
        await connection.close()
    async with shelf.asked(roles=everything().roles) as client:
        result = await found(client, collection=one.name, vector=list(rows[0].vector), text=rows[0].body)
        gone = await refused(client, collection=one.name, like=["1"])
    assert sorted(result.ids) == ["0", "2", "3", "4"]
    [changed] = [hit for hit in result.hits if hit["id"] == "0"]
    assert (changed["snippet"], changed["year"]) == (f"{rows[0].title or ''}: {rows[0].body}", "1999")
    assert gone.startswith("refused: `like` holds an id that is none of this collection")


@pytest.mark.asyncio
async def test_a_text_of_before_tells_nothing_to_who_may_never_have_had_it(shelf: Shelf):
    rows = [replace(note, region="south") for note in notes(8, 30)]
    rows[3] = replace(rows[3], body="the unseen merger", vector=tuple([1.0] * 8))
    rows[4] = replace(rows[4], region="north", level=None, body="plain")
    one = await filled(shelf, rows, "moved")
    connection = await asyncpg.connect(shelf.site.server.dsn(database=shelf.source))
    try:
        await connection.execute("UPDATE notes SET region = 'north', level = NULL, body = 'cleaned' WHERE id = 3")
    finally:
        await connection.close()
    async with shelf.asked(*Agent((), ("north",), None).attributes) as client:
        worded = await found(client, collection=one.name, text="merger", mode="text")
        near = await found(client, collection=one.name, vector=[1.0] * 8)
        liked, nothing = [await refused(client, collection=one.name, like=[id_]) for id_ in ("3", "999999")]
    assert (worded.ids, near.ids) == ([], ["4"])
    assert liked == nothing


@pytest.mark.asyncio
async def test_an_id_that_is_no_key_at_all_is_told_as_one_that_is_unknown(shelf: Shelf):
    await written(shelf, notes(1))
    ids = ("999999", "abc", "9" * 30, "1,2", "{1}", '1"', "1#0", " ")
    async with shelf.house() as house:
        told = await answers(house, everything(), *({"like": [id_], "k": 1} for id_ in ids))
    assert len(set(told)) == 1
    assert told[0].startswith("refused: `like` holds an id that is none of this collection")


@pytest.mark.asyncio
async def test_a_term_on_rows_bounds_what_is_shown_and_not_what_is_found(shelf: Shelf):
    await written(shelf, notes(1))
    async with shelf.asked(roles=everything("limited").roles) as client:
        first = await found(client, collection="notes", vector=[1.0] * 8, k=10)
        second = await found(client, collection="notes", vector=[1.0] * 8, k=10, offset=first.next)
    async with shelf.asked(roles=everything().roles) as client:
        whole = await found(client, collection="notes", vector=[1.0] * 8, k=10)
    assert (len(first.ids), first.next) == (4, 4)
    assert [*first.ids, *second.ids] == whole.ids[:8]


@pytest.mark.asyncio
async def test_a_search_that_ends_at_its_limit_says_so(shelf: Shelf, monkeypatch: pytest.MonkeyPatch):
    rows = notes(1)
    monkeypatch.setattr(ranking, "_MOST", 100)
    only = replace(rows[7], id=7_777, region="island", level=None, vector=tuple(-1.0 for _ in range(8)))
    one = await filled(shelf, [*rows, only], "endless")
    async with shelf.asked(*Agent((), ("island",), None).attributes) as client:
        result = await found(client, collection=one.name, vector=[1.0] * 8, k=1)
    assert result.ids == []
    assert result.notes.startswith("the search ended at its limit")


@pytest.mark.asyncio
async def test_pages_of_rows_hold_each_visible_row_once(shelf: Shelf):
    await filled(shelf, notes(1), "paged")
    agent = Agent((), ("north", "west"), 1)
    may = {str(note.id) for note in notes(1) if agent.has(note)}
    async with shelf.asked(*agent.attributes) as client:
        pages: list[str] = []
        offset: int | None = 0
        while offset is not None:
            result = await found(client, collection="paged", vector=[1.0] * 8, k=40, offset=offset)
            pages += result.ids
            offset = result.next
    assert len(pages) == len(may)
    assert set(pages) == may
