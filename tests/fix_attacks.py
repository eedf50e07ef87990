"""Attacks as data, the secrets they are after, and what one did in words.

What is judged is effect: a fingerprint of the whole cluster before and after, secrets in
any reply, replies that differ between two shops although only secrets do, and what the
session keeps.
"""

import asyncio
import base64
import hashlib
import re
import secrets
import tomllib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

CASES = Path(__file__).parent / "cases"
TWINS = ("shop_a", "shop_b")
"""Two shops that differ in nothing but their secrets."""
HUNG = "does not come back"
PATIENCE_S = 20.0
_WINDOW = 8
"""So many characters of a secret in a row are a leak; chance makes one in billions of replies."""


@dataclass(frozen=True)
class Attack:
    """One call, and why a bare superuser could do it without harm where that is so."""

    title: str
    call: Mapping[str, Any]
    toothless: str = ""
    bare: str = ""
    """What a bare session has run before: some attacks need a state to break."""
    needs: frozenset[str] = frozenset()
    """What the server must offer for the attack to do harm: an extension, `xml`, or a version as `17+`."""
    bound: str = ""
    """Of a denial of service that is not refused: the words of the reply that name the bound which held."""

    @property
    def sql(self) -> str | None:
        """Of a plain query."""
        sql = self.call.get("sql")
        return sql if isinstance(sql, str) else None


@dataclass(frozen=True)
class Secrets:
    """The values that fill the places of shop.sql in one of the shops."""

    first: str
    drawn: dict[str, str] = field(default_factory=dict, repr=False)

    def __getitem__(self, name: str) -> str:
        if name not in self.drawn:
            digits = secrets.randbelow(900_000) + 100_000
            longer = secrets.token_hex(12 if self.first == "1" else 14)
            self.drawn[name] = f"{self.first}{digits}" if name == "salary" else self.first + longer
        return self.drawn[name]


def attacks(folder: str, places: Mapping[str, str]) -> Iterator[Attack]:
    """Every case with its places filled."""
    for path in sorted((CASES / folder).glob("*.toml")):
        for case in tomllib.loads(path.read_text("utf-8"))["case"]:
            known = {name: case.pop(name, "") for name in ("title", "toothless", "bare", "bound")}
            needs = frozenset(case.pop("needs", ()))
            yield Attack(
                f"{path.stem}: {known['title']}", filled(case, places), known["toothless"], known["bare"], needs, known["bound"]
            )


@dataclass(frozen=True)
class Outcome:
    """What an attack got back, as text, and names of what its session held afterwards and not before."""

    reply: str
    kept: tuple[str, ...] = ()


Do = Callable[[str, Attack], Awaitable[Outcome]]
"""An attack on one of the shops."""


class Judge(Protocol):
    """Sees effects; the fortress is one."""

    def leaked(self, reply: str, attack: Attack) -> str:
        """Name of the secret that a reply tells."""
        ...

    async def quiet(self, seconds: float) -> str:
        """What still runs after that time, in words."""
        ...

    async def fingerprint(self) -> dict[str, str]:
        """All that an attack could change."""
        ...


async def harms(
    judge: Judge, attack: Attack, do: Do, before: dict[str, str], *, patience_s: float = 0
) -> tuple[list[str], dict[str, str]]:
    """What an attack on both shops did, in words, and the fingerprint after it.

    Some effects come after the reply, by a signal to another process: with `patience_s` a harm is waited for so long.
    """
    outcomes = [await do(twin, attack) for twin in TWINS]
    told = [plain(outcome.reply) for outcome in outcomes]
    found = [f"tells the {name}" for outcome in outcomes if (name := judge.leaked(outcome.reply, attack))]
    if told[0] != told[1]:
        found.append(f"tells the shops apart: {told[0][:300]!r} and {told[1][:300]!r}")
    found += [outcome.reply for outcome in outcomes if outcome.reply == HUNG]
    found += [f"leaves {', '.join(outcome.kept)} in its session" for outcome in outcomes if outcome.kept]
    if still := await judge.quiet(PATIENCE_S):
        found.append(still)
    deadline = asyncio.get_running_loop().time() + patience_s
    while True:
        after = await judge.fingerprint()
        changed = differing(before, after)
        if found or changed or asyncio.get_running_loop().time() >= deadline:
            return found + ([f"changes {', '.join(changed)}"] if changed else []), after
        await asyncio.sleep(0.01)


_DRAWN = re.compile(
    r"(?:cursor|change)=\"[^\"]+\"|change [\w-]{24} |data-[0-9a-f]{6}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|policy: \w+"
)
"""What differs between two replies without telling anything: marks, call ids, cursors and handles of changes."""


def plain(reply: str) -> str:
    """The reply without what differs between two that tell the same."""
    return _DRAWN.sub("", reply).replace(TWINS[0], "shop").replace(TWINS[1], "shop")


def differing(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[str, ...]:
    """Names whose values are not the same in both."""
    return tuple(sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name)))


def leaked(reply: str, owners: Iterator[Secrets], attack: Attack) -> str:
    """The secret that stands in a reply, in any of its disguises; one that the attacker wrote himself is none."""
    written = str(attack.call).lower()
    found = reply.lower()
    for owner in owners:
        for name, value in owner.drawn.items():
            if any(form in found and form not in written for form in _disguises(value)):
                return name
    return ""


def _disguises(value: str) -> Iterator[str]:
    """The value, or enough of it, as it may be spelled; in lower case."""
    if len(value) <= _WINDOW:
        yield value.lower()
        return
    texts = [value, value[::-1], value.encode().hex(), "".join(f"{ord(c)}," for c in value)]
    texts += [hashlib.new(kind, value.encode()).hexdigest() for kind in ("md5", "sha1", "sha256")]
    for text in texts:
        yield from (text[n : n + 2 * _WINDOW].lower() for n in range(0, max(1, len(text) - 2 * _WINDOW), _WINDOW))
    yield from (value[n : n + _WINDOW].lower() for n in range(len(value) - _WINDOW + 1))
    for shift in range(3):
        # All digits that hang on the value alone: fewer of them may be part of a word.
        data = b"x" * shift + value.encode()
        yield base64.b64encode(data).decode()[-(-8 * shift // 6) : 8 * len(data) // 6].lower()


def filled(value: Any, places: Mapping[str, str]) -> Any:
    """The value with every place in it, however deep, filled."""
    match value:
        case str():
            for place, text in places.items():
                value = value.replace(place, text)
            return value
        case dict():
            return {name: filled(item, places) for name, item in value.items()}
        case list():
            return [filled(item, places) for item in value]
        case _:
            return value
