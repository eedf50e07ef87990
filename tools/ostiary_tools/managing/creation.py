"""A collection as it is asked for: what its store and its embedder can do, or why not in words that name what they can."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TypeVar
from uuid import uuid4

from ostiary_policies import model
from ostiary_policies.actions import Action
from ostiary_policies.model import Access, Principal, Statement
from ostiary_tools.api import Holdings, Refused, World
from ostiary_tools.managing.arguments import GivenSource, ManageCollectionArgs
from ostiary_tools.vectors.collection import Collection, Element, Embedding, IndexKind, Layout, Metric, Source, is_name
from ostiary_tools.vectors.known import taken
from ostiary_tools.vectors.port import Capabilities
from ostiary_tools.vectors.rows import every, source_of, unmasked

T = TypeVar("T")

NOTHING = Holdings({}, {}, {})
"""What is known where there is no store."""

_TAG = re.compile(r"[a-z][a-z0-9_]{0,40}(:[a-z0-9_]{1,20})?")
_TAGS = 10
_EXTRA = "run `pip install 'ostiary[vector]'`"
STORES = ("store of vectors", f"{_EXTRA}, or configure one under `[vectors]`")
"""What they are called, and what to do where there is none."""


@dataclass(frozen=True, slots=True)
class Design:
    """What is to be created."""

    name: str
    store: str
    embedding: Embedding
    layout: Layout
    tags: tuple[str, ...]
    source: Source | None
    accesses: tuple[Access, ...]
    """What its rows are read for; its caller has all of them whole."""
    statement: Statement | None
    """That reads them."""

    @property
    def intended(self) -> tuple[Access, ...]:
        """All that creating it needs."""
        datasource = self.source.datasource if self.source else ""
        resource = model.Collection(self.name, self.store, datasource, frozenset(self.tags))
        return (Access(Action.MANAGE, resource), *self.accesses)

    def collection(self, owner: Principal) -> Collection:
        """A new one, under an id that nothing else has."""
        return Collection(
            uuid4(),
            self.name,
            self.store,
            self.embedding,
            self.layout,
            self.source,
            tags=self.tags,
            owner=owner,
            created_at=datetime.now(UTC),
        )


def design(args: ManageCollectionArgs, world: World) -> Design:
    """What the arguments ask for. Raises Refused, Unavailable."""
    holdings = world.holdings or NOTHING
    if not is_name(args.name):
        hint = "begin with a small letter, go on with small letters, digits and `_`; at most 63"
        raise Refused("collection", "a collection cannot be called so", hint)
    if args.name in holdings.collections:
        raise taken(args.name)
    store, capabilities = chosen(args.store, holdings.stores, *STORES)
    embedding = measured(_embedding(args, holdings), store, capabilities)
    layout = layout_of(args, Layout(index=_usual(capabilities)), store, capabilities)
    rows = _rows(args.source, world) if args.source else (None, (), None)
    return Design(args.name, store, embedding, layout, _tags(args.tags), *rows)


def _rows(given: GivenSource, world: World) -> tuple[Source, tuple[Access, ...], Statement]:
    """The rows as the caller would read them in a query."""
    view = world.view(given.datasource or None)
    source, accesses = source_of(
        given.sql, key=given.key, template=given.template, metadata=given.metadata, follows=given.follows, view=view
    )
    whole = every(source, unmasked(source, view).columns, view)
    return source, tuple(dict.fromkeys((*accesses, *whole.accesses))), whole.statement


def chosen(name: str, among: Mapping[str, T], what: str, mend: str) -> tuple[str, T]:
    """The one of that name, or the first where none is named. Raises Refused."""
    if not among:
        raise Refused(what, f"there is no {what}", mend)
    if name and name not in among:
        raise Refused(what, f"there is no {what} of that name", f"there is {_listed(among)}")
    found = name or next(iter(among))
    return found, among[found]


def layout_of(args: ManageCollectionArgs, now: Layout, store: str, capabilities: Capabilities) -> Layout:
    """How it is to lie: as now, but for what is given. Raises Refused."""
    wanted = replace(
        now,
        index=IndexKind(args.index) if args.index else now.index,
        element=Element(args.element) if args.element else now.element,
        m=args.m or now.m,
        ef_construction=args.ef_construction or max(now.ef_construction, 2 * args.m),
        lists=args.lists if "lists" in args.model_fields_set else now.lists,
    )
    _possible(wanted.index, capabilities.indexes, f"the store `{store}` has no index `{wanted.index}`")
    _possible(wanted.element, capabilities.elements, f"the store `{store}` does not index `{wanted.element}`")
    _within("m", wanted.m, 2, 100)
    _within("ef_construction", wanted.ef_construction, max(4, 2 * wanted.m), 1000)
    _within("lists", wanted.lists, 0, 32_768)
    return wanted


def _usual(capabilities: Capabilities) -> IndexKind:
    return IndexKind.HNSW if IndexKind.HNSW in capabilities.indexes else IndexKind.EXACT


def measured(embedding: Embedding, store: str, capabilities: Capabilities) -> Embedding:
    """The same, where the store takes such vectors. Raises Refused."""
    _possible(embedding.metric, capabilities.metrics, f"the store `{store}` does not measure by `{embedding.metric}`")
    _within("dimension", embedding.dimension, 1, capabilities.max_dimension)
    return embedding


def _embedding(args: ManageCollectionArgs, holdings: Holdings) -> Embedding:
    metric = Metric(args.metric)
    if args.dimension:
        if args.embedder or args.source:
            raise Refused("arguments", "a dimension stands for vectors that you bring", "give it without `embedder` and `source`")
        return Embedding("", "", args.dimension, normalised=False, metric=metric)
    name, embedder = chosen(args.embedder, holdings.embedders, "embedder", f"{_EXTRA}, or give the `dimension` of your vectors")
    return Embedding(name, embedder.model, embedder.dimension, embedder.normalised, metric)


def _tags(tags: tuple[str, ...]) -> tuple[str, ...]:
    if len(tags) > _TAGS or not all(_TAG.fullmatch(tag) for tag in tags):
        raise Refused("tags", "these are no tags", f"at most {_TAGS}, each such as `pii` or `pii:email`")
    return tuple(sorted(set(tags)))


def _possible(wanted: T, can: frozenset[T], words: str) -> None:
    if wanted not in can:
        raise Refused("store", words, f"it has {_listed(sorted(map(str, can)))}")


def _within(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise Refused("arguments", f"`{name}` is out of bounds", f"it goes from {least} to {most:,}")


def _listed(names: Mapping[str, object] | list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
