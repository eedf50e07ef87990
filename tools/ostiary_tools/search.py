"""The `search` tool: find passages or rows by meaning, by words, or both."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, Field, WithJsonSchema

from ostiary_policies.actions import Action
from ostiary_policies.model import Access, Intent, Permit
from ostiary_tools.api import Args, CollectionName, Hints, Hits, KnownCollection, Redacted, Refused, Session, Surface, World
from ostiary_tools.searching import likeness
from ostiary_tools.searching.examples import examples
from ostiary_tools.searching.question import Mode, Question, Wish, question
from ostiary_tools.searching.ranking import Searching
from ostiary_tools.searching.shown import shown
from ostiary_tools.searching.sight import OfDocuments, OfRows, Sight
from ostiary_tools.searching.source_rows import may_ask, source_rows
from ostiary_tools.vectors.known import known, nearest
from ostiary_tools.vectors.sources import lookup_of, view_of

_IDS = 20
_NESTED = 40
_HERE_CHARS = 10_000
"""Texts of hits up to which a page is made where it is: that takes half a millisecond, and a thread under load more."""


def _shallow(given: Any) -> Any:
    """What is nested without end is turned away before anything goes through it; the rest is told by its place."""
    level, depth = [given], 0
    while level:
        level = [inner for one in level for inner in _inside(one)]
        depth += 1
        if depth > _NESTED:
            raise ValueError("it is nested too deeply")
    return given


def _inside(value: Any) -> Sequence[Any]:
    match value:
        case dict():
            return tuple(value.values())
        case list() | tuple():
            return value
        case _:
            return ()


_Ids = Annotated[tuple[Annotated[str, Field(max_length=1_000)], ...], Field(max_length=_IDS)]


class SearchArgs(Args):
    """Arguments of `search`."""

    collection: Annotated[str, CollectionName(), Field(max_length=63, description="Its name; empty: the reply names them.")] = ""
    text: Annotated[str, Redacted(), Field(max_length=4_000, description="What to find, in words.")] = ""
    vector: Annotated[tuple[float, ...], Redacted(), Field(max_length=16_000, description="Instead of embedding `text`.")] = ()
    like: Annotated[_Ids, Redacted(), Field(description="Ids of hits to resemble.")] = ()
    unlike: Annotated[_Ids, Redacted(), Field(description="Ids to keep away from.")] = ()
    mode: Annotated[Mode, Field(description="By both, meaning or words.")] = "auto"
    weights: Annotated[tuple[float, ...], Field(max_length=2, description="Of hybrid: meaning, words; else alike.")] = ()
    filter: Annotated[
        dict[str, Any],
        Redacted(),
        AfterValidator(_shallow),
        WithJsonSchema({"type": "object"}),
        Field(description='{"field":"year","ge":2020}; eq ne lt le gt ge in contains null; {"and":[…]}, {"or":[…]}, {"not":…}'),
    ] = Field(default_factory=dict)
    k: Annotated[int, Field(ge=1, le=100, description="Hits.")] = 10
    offset: Annotated[int, Field(ge=0, le=1_000, description="Hits to skip.")] = 0
    min_score: Annotated[float | None, Field(allow_inf_nan=False, description="Least score.")] = None
    diversity: Annotated[float, Field(ge=0, le=1, description="0: nearest; 1: most varied.")] = 0.0

    @property
    def wish(self) -> Wish:
        """What is searched for."""
        return Wish(self.text, self.vector, self.like, self.unlike, self.mode, self.weights, self.filter)


class Search:
    """The `search` tool."""

    name = "search"
    title = "Search by meaning"
    description = "Find passages or rows in a collection by meaning, by words, or both."
    surface = Surface.TOOL
    hints = Hints()
    args = SearchArgs

    def plan(self, args: SearchArgs, world: World) -> Intent:
        """What it searches, and how rows behind it are read. Raises Refused, Unavailable."""
        if not args.collection:
            raise Refused("unknown_collection", "name the collection", nearest(world.holdings))
        one = known(args.collection, world.holdings)
        searches = Access(Action.SEARCH, one.collection.resource)
        arguments = args.model_dump(mode="json")
        if Action.SEARCH not in one.may:
            return Intent(self.name, arguments, (searches,))
        asked = question(args.wish, one)
        source = one.collection.source
        if source is None:
            return Intent(self.name, arguments, (searches,))
        lookup = lookup_of(source, view_of(source, world))
        may_ask(asked.condition, source, lookup)
        return Intent(self.name, arguments, (searches, *lookup.accesses), source.datasource, lookups=(lookup.statement,))

    async def run(self, permit: Permit, session: Session) -> Hits:
        """A page of hits."""
        args = SearchArgs.model_validate(permit.intent.arguments)
        one = known(args.collection, session.world.holdings)
        asked = question(args.wish, one)
        k = min(args.k, permit.obligations.limit_rows or args.k)
        searching = await _searching(asked, one, session, _sight(one, session), args)
        window = await searching.window(args.offset + k + 1)
        if sum(len(one.hit.text) for one in window.ranked) > _HERE_CHARS:
            return await asyncio.to_thread(shown, window, asked, args.offset, k)
        return shown(window, asked, args.offset, k)


def _sight(one: KnownCollection, session: Session) -> Sight:
    source = one.collection.source
    return OfDocuments() if source is None else OfRows(source_rows(source, view_of(source, session.world)), session)


async def _searching(asked: Question, one: KnownCollection, session: Session, sight: Sight, args: SearchArgs) -> Searching:
    store, collection = session.search_in(args.collection), one.collection
    vector, left_out = asked.vector, frozenset[str]()
    if asked.embeds and one.embedder is not None:
        vector = await session.embed(args.collection, asked.words)
    if asked.like or asked.unlike:
        given = await examples(asked, collection, store, sight)
        vector, left_out = likeness.towards(vector, given.liked, given.unliked, collection.embedding), given.keys
    return Searching(asked, store, collection, sight, vector, left_out, args.min_score, args.diversity)
