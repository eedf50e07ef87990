"""The words of a text, as searches compare them: of identifiers and of prose alike."""

import re

_TOKEN = re.compile(r"\w+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
FILLERS = frozenset(
    _TOKEN.findall(
        "a all an and are by did do doe each for from had has have how in is list many me much of on or per show that the there"
        " to was were what when where which who whose with"
    )
)
"""Words of a question that name nothing, as `words` leaves them."""


def words(text: str) -> tuple[str, ...]:
    """Lower-case words of text without a plural s; an identifier, snake or camel, gives its parts and the whole."""
    found: list[str] = []
    for token in _TOKEN.findall(text):
        split = _split(token)
        found += split if len(split) < 2 else [*split, "".join(split)]  # noqa: PLR2004 - one part is the whole
    return tuple(_singular(part.lower()) for part in found)


def parts(token: str) -> tuple[str, ...]:
    """The parts of one word, snake or camel, each as `words` leaves it."""
    return tuple(_singular(part.lower()) for part in _split(token))


def _split(token: str) -> list[str]:
    return [part for word in token.split("_") for part in _CAMEL.split(word) if part]


def _singular(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):  # noqa: PLR2004 - `series` and the like lose nothing: both sides are cut alike
        return word[:-3] + "y"
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word  # noqa: PLR2004 - `gas`, `bus` stay
