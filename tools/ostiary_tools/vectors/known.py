"""A collection as one caller knows it, and the words for one that it does not."""

from dataclasses import dataclass, field

from ostiary_policies.actions import Action
from ostiary_tools.embedders.port import Embedder
from ostiary_tools.errors import Refused, Unavailable
from ostiary_tools.vectors.collection import Collection
from ostiary_tools.vectors.port import Capabilities

_NAMED = 8
"""Listed at most in one sentence."""


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
class Holdings:
    """All collections that a caller knows, and what one can be made of."""

    collections: dict[str, KnownCollection]
    """By name."""
    stores: dict[str, Capabilities]
    """Those configured, the default first."""
    embedders: dict[str, Embedder]
    """Likewise."""
    outsiders: dict[str, bool] = field(default_factory=dict)
    """Names of rows that claim to be collections which the caller would know; whether they are sealed with another key."""


def known(name: str, holdings: Holdings | None) -> KnownCollection:
    """The collection of that name. Raises Refused, in the same words where there is none and where it is hidden."""
    found = holdings.collections.get(name) if holdings else None
    if found is None and holdings and name in holdings.outsiders:
        raise outside(name, other_key=holdings.outsiders[name])
    if found is None:
        raise Refused("unknown_collection", f"unknown collection `{name}`", nearest(holdings))
    return found


def nearest(holdings: Holdings | None, action: Action = Action.SEARCH) -> str:
    """What its caller can name instead."""
    names = sorted(name for name, one in holdings.collections.items() if action in one.may) if holdings else []
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    shown = ", ".join(f"`{name}`" for name in names[:_NAMED])
    return f"collections you may {action.value}: {shown}{more}" if names else f"there is no collection that you may {action.value}"


def outside(name: str, *, other_key: bool) -> Refused:
    """The refusal of one whose row is not as this installation wrote it."""
    if other_key:
        words = f"collection `{name}` is sealed with another key than this server's, and is not used"
        return Refused("collection", words, "tell the operator: all servers of one control database need the same `changes.key`")
    words = f"collection `{name}` was changed outside; nothing that its row says is believed"
    return Refused("collection", words, "create it anew, and tell the operator; one from before rows were sealed reads so too")


def gone(name: str) -> Refused:
    """The refusal of one that was dropped since the call was planned."""
    return Refused("unknown_collection", f"unknown collection `{name}`", "it was dropped a moment ago")


def changed_meanwhile(name: str) -> Refused:
    """The refusal of a change to one that somebody else has changed since the call was planned."""
    return Refused("collection", f"collection `{name}` was changed by somebody else meanwhile", "describe it, and repeat the call")


def closed(name: str) -> Unavailable:
    """What a writer is told of one that was being moved before its documents were certainly among what is moved."""
    return Unavailable(
        f"collection `{name}` is being moved to another store and takes nothing in meanwhile", "try again in a moment"
    )


def taken(name: str) -> Refused:
    """The refusal of a name that another collection has, whether or not it exists for the caller."""
    return Refused("collection", f"a collection cannot be created as `{name}`: the name is taken", "choose another name")
