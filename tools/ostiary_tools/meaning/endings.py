"""Words without their endings: `stem` leaves those of verbs away, `root` also those that make one kind of word of another.

Both sides of a comparison are cut alike, so what is left need not be a word. What no rule finds is in the lists beside this module.
"""

from collections.abc import Mapping
from functools import cache, lru_cache
from importlib.resources import files

_VERB = ("ing", "ed")
_MADE = tuple(
    "isation ization ation ition ment ance ence ness ship tion sion able ible ity ive ion al er or ist ly".split(),  # noqa: SIM905 a list of words
)
"""Longer ones first, of those that end alike."""
_SHORTEST_STEM, _SHORTEST_ROOT = 3, 4
_VOWELS = frozenset("aeiouy")
_KEPT = 20_000
"""Words whose stems are remembered; anybody may ask with words of their own."""


@lru_cache(_KEPT)
def stem(word: str) -> str:
    """Of a word in lower case, without a plural s."""
    base = _forms().get(word, word)
    if base in _whole():
        return base
    cut = _without_verb(base)
    if len(cut) > _SHORTEST_STEM and cut.endswith("i"):
        cut = cut[:-1] + "y"
    cut = _forms().get(cut, _forms().get(cut + "e", cut))
    return cut.removesuffix("e") if len(cut) > _SHORTEST_STEM else cut


@lru_cache(_KEPT)
def root(word: str) -> str:
    """Of a stem."""
    if word in _whole() or word + "e" in _whole():
        return word
    for ending in _MADE:
        cut = word.removesuffix(ending)
        if cut != word and len(cut) >= _SHORTEST_ROOT:
            return cut.removesuffix("e").removesuffix("i")
    return word


def lines(name: str) -> list[str]:
    """Of a list beside this module, without its comments."""
    text = files("ostiary_tools.meaning").joinpath(name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def _without_verb(word: str) -> str:
    for ending in _VERB:
        cut = word.removesuffix(ending)
        if cut != word and len(cut) >= _SHORTEST_STEM and not _VOWELS.isdisjoint(cut):
            return cut[:-1] if cut[-1] == cut[-2] and cut[-1] not in "sl" else cut
    return word


@cache
def _forms() -> Mapping[str, str]:
    found: dict[str, str] = {}
    for line in lines("forms.txt"):
        base, _, others = line.partition(": ")
        for other in others.split(", "):
            found.setdefault(other, base)
    return found


@cache
def _whole() -> frozenset[str]:
    return frozenset(word for line in lines("whole.txt") for word in line.split())
