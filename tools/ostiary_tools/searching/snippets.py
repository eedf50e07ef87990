"""The part of a text that is shown: around the words that were asked for."""

import re

from ostiary_tools.words import FILLERS, words

_BREAK = re.compile(r"\s+")
_READ = 50_000
"""Characters that are looked at."""
_EDGE = 20
"""Characters in which the cut looks for the end of a word."""


def snippet(text: str, asked: str, length: int) -> str:
    """On one line and at most so long: where most different words of `asked` stand, the first of equals, `…` where it is cut."""
    line = _BREAK.sub(" ", text[:_READ]).strip()
    if len(line) <= length:
        return line
    room = length - 2
    start = _start(line, frozenset(words(asked)) - FILLERS, room)
    end = min(len(line), start + room)
    if start > 0 and (space := line.find(" ", start, start + _EDGE)) >= 0:
        start = space + 1
    if end < len(line) and (space := line.rfind(" ", end - _EDGE, end)) >= 0:
        end = space
    return f"{'…' * (start > 0)}{line[start:end]}{'…' * (end < len(line))}"


def _start(line: str, asked: frozenset[str], room: int) -> int:
    """Where a stretch of that length begins, some words before the first of those that count."""
    found = [(match.start(), match[1].lower()) for match in re.finditer(_pattern(asked), line)] if asked else []
    best, most, first = 0, 0, 0
    counts = dict.fromkeys((word for _, word in found), 0)
    for place, word in found:
        counts[word] += 1
        while place - found[first][0] > room // 2:
            counts[found[first][1]] -= 1
            first += 1
        if (held := sum(count > 0 for count in counts.values())) > most:
            best, most = found[first][0], held
    return max(0, min(best - room // 4, len(line) - room))


def _pattern(asked: frozenset[str]) -> str:
    """What begins like one of the words and has an ending at most: a plural of `y` is `ies`."""
    beginnings = sorted((word.removesuffix("y") or word for word in asked), key=len, reverse=True)
    return rf"(?i)(?<![^\W_])({'|'.join(map(re.escape, beginnings))})[^\W_]{{0,3}}(?![^\W_])"
