"""As much as fits into each chunk, of parts that are as coarse as fit."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ostiary_tools.chunking.joints import Joints, handfuls, sentences, words

Count = Callable[[str], int]
"""How many tokens a text is."""
_CHARS_A_TOKEN = 32
"""What is longer than as many for each token is cut uncounted: counting the whole takes as long as counting all its parts."""
_AROUND = 8
"""Tokens that a model may put around a text."""
_OPENING = re.compile(r"(?:[^\S\n]*\n)+")
_SHARE_OF_PATH = 4


@dataclass(frozen=True, slots=True)
class Pack:
    """Cuts texts into chunks of so many tokens."""

    count: Count
    size: int
    overlap: int

    def whole(self, text: str, head: str = "") -> str | None:
        """The text as one chunk, where it is just one."""
        clean = _clean(text)
        fits = bool(clean) and len(clean) <= self.size * _CHARS_A_TOKEN and self._fits(head + clean)
        return head + clean if fits else None

    def _fits(self, text: str) -> bool:
        """Most documents are short, and are not counted: of ASCII, a token is a character at least."""
        return (len(text) + _AROUND <= self.size and text.isascii()) or self.count(text) <= self.size

    def chunks(self, text: str, joints: Joints, first: str = "", others: str = "") -> Iterator[str]:
        """The text's chunks, none of them blank: the first begins with `first`, each other with `others`, where there is room."""
        whole = self.whole(text, first)
        if whole is not None:
            yield whole
            return
        head = first
        for parts in self._filled(text, joints, self._room(first), self._room(others)):
            for chunk in self._fitting(parts, head):
                yield chunk
                head = others

    def _room(self, head: str) -> int:
        return self.size - self.count(head) if head else self.size

    def path(self, titles: tuple[str, ...]) -> str:
        """The headings a chunk stands under, in a line of their own: the nearest ones, as many as leave it most of its room."""
        for start in range(len(titles)):
            shown = " > ".join(filter(None, titles[start:]))
            if shown and self.count(shown) <= self.size // _SHARE_OF_PATH:
                return f"{shown}\n\n"
        return ""

    def _filled(self, text: str, joints: Joints, first: int, others: int) -> Iterator[list[str]]:
        """Parts that should fit together: what is said of each is only nearly what they are together."""
        held: list[str] = []
        total, room = 0, first
        for part, tokens in self._parts(text, joints, min(first, others)):
            if held and total + tokens > room:
                yield held
                room = others
                held, total = self._tail("".join(held), room - tokens)
            held.append(part)
            total += tokens
        if held:
            yield held

    def _tail(self, text: str, room: int) -> tuple[list[str], int]:
        """The end of a chunk, to stand again at the beginning of the next: sentences, or else words."""
        for joint in (sentences, handfuls, words) if self.overlap else ():
            tail, total = "", 0
            for part in reversed(list(joint(text))):
                tokens = self.count(part)
                if total + tokens > min(self.overlap, room):
                    break
                tail, total = part + tail, total + tokens
            if tail.strip() and tail != text:
                return [tail], total
        return [], 0

    def _fitting(self, parts: list[str], head: str) -> Iterator[str]:
        body = _clean("".join(parts))
        if not body:
            return
        if self._fits(head + body):
            yield head + body
        elif len(parts) > 1:
            middle = len(parts) // 2
            yield from self._fitting(parts[:middle], head)
            yield from self._fitting(parts[middle:], head)
        else:
            yield body

    def _parts(self, text: str, joints: Joints, room: int) -> Iterator[tuple[str, int]]:
        """The coarsest parts that fit, each with its tokens."""
        if len(text) <= room * _CHARS_A_TOKEN:
            tokens = self.count(_clean(text))
            if tokens <= room or len(text) == 1:
                yield text, tokens
                return
        yield from self._finer(text, joints, room)

    def _finer(self, text: str, joints: Joints, room: int) -> Iterator[tuple[str, int]]:
        if not joints:
            # One word without an end. A character is some bytes, and a token at least one.
            step = min(max(1, room // 4), (len(text) + 1) // 2)
            for start in range(0, len(text), step):
                yield from self._parts(text[start : start + step], (), room)
            return
        for part in joints[0](text):
            if len(part) == len(text):
                yield from self._finer(part, joints[1:], room)
            else:
                yield from self._parts(part, joints[1:], room)


def _clean(text: str) -> str:
    """Without blank lines around it; the first line's indentation stays, since it belongs to code."""
    text = text.rstrip()
    opening = _OPENING.match(text)
    return text[opening.end() :] if opening else text
