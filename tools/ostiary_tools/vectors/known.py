"""A collection as one caller knows it."""

from dataclasses import dataclass

from ostiary_policies.actions import Action
from ostiary_tools.embedders.port import Embedder
from ostiary_tools.vectors.collection import Collection
from ostiary_tools.vectors.port import Capabilities


@dataclass(frozen=True, slots=True)
class KnownCollection:
    """With what its caller may do with it: at least one of `search`, `index`, `manage` and `drop`."""

    collection: Collection
    may: frozenset[Action]
    capabilities: Capabilities | None
    """Of its store; `None` where that is not configured any more."""
    embedder: Embedder | None
    """That it was made with; `None` where none of that name is configured, or it states another model now."""


@dataclass(frozen=True, slots=True)
class Library:
    """All collections that a caller knows, and what one can be made of."""

    collections: dict[str, KnownCollection]
    """By name."""
    stores: dict[str, Capabilities]
    """Those configured, the default first."""
    embedders: dict[str, Embedder]
    """Likewise."""
