"""Markdown: sections by their headings; code fences and tables are not torn where they fit."""

import re
from collections.abc import Iterator

from ostiary_tools.chunking.joints import Joint, Joints, handfuls, lines, paragraphs, sentences, words
from ostiary_tools.chunking.sections import Section

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t]|$)")
_UNDERLINE = re.compile(r" {0,3}(?:=+|-+)\s*$")
_TITLE_CHARS = 200


def sections(text: str) -> list[Section]:
    """By headings with `#`, and those that are underlined."""
    found: list[Section] = []
    level, title, held = 0, "", list[str]()
    front = text.startswith("---\n")
    above = False
    for line, fenced in _lines(text):
        heading = None if fenced or front else _HEADING.match(line)
        underline = above and not (fenced or heading) and _UNDERLINE.match(line)
        if heading or underline:
            kept = held[:-1] if underline else held
            found += [Section(level, title, "".join(kept))] if kept else []
            level = len(heading[1]) if heading else 1 if line.lstrip().startswith("=") else 2
            held = held[-1:] if underline else []
            title = _title(held[-1] if underline else line)
        above = not (fenced or front) and _is_text(line)
        front = front and not (held and line.rstrip() == "---")
        held.append(line)
    return [*found, Section(level, title, "".join(held))]


def _is_text(line: str) -> bool:
    return bool(line.strip()) and not _HEADING.match(line) and not _UNDERLINE.match(line)


def _title(line: str) -> str:
    return line.strip().strip("#").strip()[:_TITLE_CHARS]


def _lines(text: str) -> Iterator[tuple[str, bool]]:
    """Each line, and whether it is within a code fence or one of its ends."""
    fence = ""
    for line in lines(text):
        mark = _FENCE.match(line)
        if fence:
            yield line, True
            if mark and mark[1].startswith(fence) and not line[mark.end() :].strip():
                fence = ""
        else:
            fence = mark[1] if mark else ""
            yield line, bool(mark)


def _blocks(text: str) -> Iterator[str]:
    """Fences whole, and what stands between them by its paragraphs."""
    held, within = list[str](), False
    for line, fenced in _lines(text):
        if fenced != within and held:
            yield from _outside_or_in("".join(held), fenced=within)
            held = []
        within = fenced
        held.append(line)
    yield from _outside_or_in("".join(held), fenced=within)


def _outside_or_in(text: str, *, fenced: bool) -> Iterator[str]:
    return iter((text,)) if fenced else paragraphs(text)


def _by_sort(text: str) -> Iterator[str]:
    """Fences and tables by their lines, all else by its sentences."""
    return lines(text) if _FENCE.match(text) or text.lstrip().startswith("|") else sentences(text)


_blocks_joint: Joint = _blocks
JOINTS: Joints = (_blocks_joint, _by_sort, lines, handfuls, words)
