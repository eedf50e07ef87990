"""How a collection keeps up with its rows: now and again, or when its database says so."""

import re
from dataclasses import dataclass

from ostiary_tools.errors import Refused

LEAST_S = 10
"""Between two rounds: each reads all rows."""
_MOST_S = 86_400
_EVERY = re.compile(r"every ([0-9]{1,7}) s", re.ASCII)
_NOTIFY = re.compile(r"notify ([a-z_][a-z0-9_]{0,62})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Every:
    """So many seconds after the last time."""

    seconds: int


@dataclass(frozen=True, slots=True)
class Notify:
    """When `NOTIFY` was sent on the channel."""

    channel: str


def followed(text: str) -> Every | Notify | None:
    """What `Source.follows` says. Raises Refused."""
    if not text:
        return None
    if found := _EVERY.fullmatch(text):
        if not LEAST_S <= int(found[1]) <= _MOST_S:
            raise Refused("follows", f"rows are followed every {LEAST_S} to {_MOST_S:,} seconds", "write `every 60 s`")
        return Every(int(found[1]))
    if found := _NOTIFY.fullmatch(text):
        return Notify(found[1])
    hint = "write `every 60 s`, or `notify CHANNEL` with small letters, digits and `_`"
    raise Refused("follows", "what the collection follows cannot be read", hint)
