"""What of collections one caller knows under one policy set: made of their rows, the stores and the embedders. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ostiary_policies.actions import Action
from ostiary_policies.engine import Engine
from ostiary_policies.model import Access, Principal
from ostiary_tools.control.collections import Rows
from ostiary_tools.embedders.port import Embedder
from ostiary_tools.vectors.collection import Collection
from ostiary_tools.vectors.known import Holdings, KnownCollection
from ostiary_tools.vectors.port import VectorStore

ACTIONS = (Action.SEARCH, Action.INDEX, Action.MANAGE, Action.DROP)
"""What may be done with a collection; of whom it is none of these, for him there is none."""


@dataclass(frozen=True, slots=True)
class Furniture:
    """What collections lie in and are made with, by name."""

    stores: Mapping[str, VectorStore]
    embedders: Mapping[str, Embedder]

    def holdings(self, engine: Engine, who: Principal, rows: Rows) -> Holdings:
        """What that caller knows of these rows."""
        judged = ((one, frozenset(_may(engine, who, one))) for one in rows.collections)
        known = {one.name: self._known(one, may) for one, may in judged if may}
        # Who is told of it could have known it, were it what it says.
        claims = ((one, claim) for one in rows.outsiders if (claim := one.claim) is not None and claim.name == one.name)
        told = {one.name: one.other_key for one, claim in claims if any(_may(engine, who, claim))}
        stores = {name: store.capabilities for name, store in self.stores.items()}
        return Holdings(known, stores, dict(self.embedders), told)

    def _known(self, one: Collection, may: frozenset[Action]) -> KnownCollection:
        store, embedder = self.stores.get(one.store), self.embedders.get(one.embedding.embedder)
        same = embedder is not None and embedder.model == one.embedding.model
        return KnownCollection(one, may, store.capabilities if store else None, embedder if same else None)


def _may(engine: Engine, who: Principal, one: Collection) -> Iterator[Action]:
    return (action for action in ACTIONS if engine.allows(who, Access(action, one.resource)).allowed)
