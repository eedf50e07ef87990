"""Masks: what stands in the place of a value that an agent may read masked alone.

`@mask` on a permit of `read_masked` names one:

- `null` nothing at all; `constant:<text>` that text; `redact` three asterisks
- `shape` every letter as `x` and every digit as `9`
- `hash` a keyed hash: equal values have equal hashes, so that tables can still be joined
- `year`, `month` the beginning of a date's year or month; `bucket:<n>` a number's lower bound in steps of `n`
- `email` first letter and domain; `first:<n>`, `last:<n>` that many characters at either end

Where several permits decide, the mask that comes first in this list holds, and of one kind the one that shows less. Which
types a mask takes is for those to say who know types.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum


class MaskKind(StrEnum):
    """The strictest first."""

    NULL = "null"
    CONSTANT = "constant"
    REDACT = "redact"
    SHAPE = "shape"
    HASH = "hash"
    YEAR = "year"
    MONTH = "month"
    BUCKET = "bucket"
    EMAIL = "email"
    FIRST = "first"
    LAST = "last"


@dataclass(frozen=True, slots=True)
class Mask:
    """A mask as a policy states it."""

    kind: MaskKind
    argument: str = ""
    """The text of a constant, the step of a bucket, a number of characters."""

    def __str__(self) -> str:
        """As it is written."""
        return f"{self.kind}:{self.argument}" if self.argument else str(self.kind)


_NUMBER = re.compile(r"[1-9][0-9]{0,2}", re.ASCII)
_STEP = re.compile(r"[1-9][0-9]{0,11}", re.ASCII)
_MOST_CONSTANT = 200
_ARGUMENTS: Mapping[MaskKind, tuple[re.Pattern[str], str]] = {
    MaskKind.CONSTANT: (re.compile(rf"[^\x00-\x1f\x7f\ud800-\udfff]{{1,{_MOST_CONSTANT}}}"), "a text of up to 200 characters"),
    MaskKind.BUCKET: (_STEP, "a whole number from 1 to 999999999999"),
    MaskKind.FIRST: (_NUMBER, "a whole number from 1 to 999"),
    MaskKind.LAST: (_NUMBER, "a whole number from 1 to 999"),
}
_ORDER = {kind: place for place, kind in enumerate(MaskKind)}


def parse(written: str) -> Mask:
    """Read what `@mask` says. Raises ValueError, saying how it is written."""
    name, colon, argument = written.partition(":")
    if name not in set(MaskKind):
        raise ValueError(f"`@mask` is one of {', '.join(f'`{kind}`' for kind in MaskKind)}, not `{name}`")
    kind = MaskKind(name)
    pattern, form = _ARGUMENTS.get(kind, (None, ""))
    if pattern is None and colon:
        raise ValueError(f'`@mask("{kind}")` takes nothing after its name')
    if pattern is not None and not pattern.fullmatch(argument):
        raise ValueError(f'`@mask("{kind}:…")` takes {form}')
    return Mask(kind, argument)


def strictest(masks: Iterable[Mask]) -> Mask | None:
    """Of these the one that shows least; `None` of none."""
    return min(masks, key=_strictness, default=None)


def _strictness(mask: Mask) -> tuple[int, int, str]:
    shown = int(mask.argument) if mask.kind in (MaskKind.FIRST, MaskKind.LAST) else 0
    step = -int(mask.argument) if mask.kind is MaskKind.BUCKET else 0
    return _ORDER[mask.kind], shown + step, mask.argument
