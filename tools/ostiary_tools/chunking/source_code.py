"""Source code: Python by its definitions, all else by blank lines and indentation.

Definitions are found by their lines and not by a parser, which would refuse what has a mistake or is written for another version.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from ostiary_tools.chunking.joints import Joints, at, handfuls, lines, words
from ostiary_tools.chunking.sections import Section

_blank_lines = at(r"\n[ \t]*\n(?:[ \t]*\n)*")


def _outermost(text: str) -> Iterator[str]:
    """Before each line that follows a blank one and is not indented."""
    held: list[str] = []
    for part in _blank_lines(text):
        if held and not part[0].isspace() and part[0] not in ")]}":
            yield "".join(held)
            held = []
        held.append(part)
    yield "".join(held)


JOINTS: Joints = (_outermost, _blank_lines, lines, handfuls, words)

_BEGINNING = re.compile(r"""\"{3}|'{3}|["'#]""")
_ENDS = {
    '"""': re.compile(r'\\.|"{3}', re.DOTALL),
    "'''": re.compile(r"\\.|'{3}", re.DOTALL),
    '"': re.compile(r'\\.|["\n]', re.DOTALL),
    "'": re.compile(r"\\.|['\n]", re.DOTALL),
    "#": re.compile(r"\n"),
}
_HEAD = re.compile(r"([ \t]*)(?:((?:async[ \t]+)?def\b|class\b)|@)")
_TITLE_CHARS = 200


def python_sections(text: str) -> list[Section]:
    """Classes and functions with their decorators and the comments above them, and the members of a class below it."""
    found = _Found()
    quoted = _long_texts(text)
    begin, end = next(quoted, (len(text), len(text)))
    start = 0
    for line in lines(text):
        while start >= end and end < len(text):
            begin, end = next(quoted, (len(text), len(text)))
        if begin < start < end:
            found.held.append(line)
        else:
            found.take(line)
        start += len(line)
    return found.closed()


def _long_texts(text: str) -> Iterator[tuple[int, int]]:
    """Where those of several lines are; what looks like a definition in one is none."""
    position = 0
    while found := _BEGINNING.search(text, position):
        ends = (end.end() for end in _ENDS[found[0]].finditer(text, found.end()) if not end[0].startswith("\\"))
        position = next(ends, len(text))
        if len(found[0]) > 1:
            yield found.start(), position


@dataclass(slots=True)
class _Found:
    """What was found so far, while the lines are read."""

    sections: list[Section] = field(default_factory=list)
    level: int = 0
    title: str = ""
    held: list[str] = field(default_factory=list)
    loose: int = 0
    """How many lines at the end of `held` are comments and decorators, which belong to what follows."""
    loose_indent: str = ""
    members: str | None = None
    """The indentation of the members of the class that is read; empty before the first."""

    def take(self, line: str) -> None:
        head = _HEAD.match(line)
        indent = line[: len(line) - len(line.lstrip(" \t"))]
        if line.lstrip().startswith(("#", "@")):
            self.loose = self.loose + 1 if indent == self.loose_indent else 1
            self.loose_indent = indent
        elif head:
            self._head(line.strip(), indent, is_class=head[2] == "class")
        elif line.strip() and not indent and line[0] not in ")]}" and self.title:
            self._begin(1, "")
            self.members = None
        if not line.lstrip().startswith(("#", "@")):
            self.loose = 0
        self.held.append(line)

    def _head(self, title: str, indent: str, *, is_class: bool) -> None:
        if not indent:
            self._begin(1, title)
            self.members = "" if is_class else None
        elif self.members is not None and indent == (self.members or indent):
            self._begin(2, title)
            self.members = indent

    def _begin(self, level: int, title: str) -> None:
        """A section that has the comments and decorators just before."""
        kept = len(self.held) - self.loose
        if kept:
            self.sections.append(Section(self.level, self.title, "".join(self.held[:kept])))
        self.held = self.held[kept:]
        self.level, self.title = level, title[:_TITLE_CHARS]

    def closed(self) -> list[Section]:
        return [*self.sections, Section(self.level, self.title, "".join(self.held))]
