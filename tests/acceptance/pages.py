"""The pages of the documentation, taken apart: blocks of code, what is said right above them, and links.

A comment `<!-- key: value -->` on the line above a block says what is done with it:
`file: NAME` the block is that file; `not run: REASON`; `command: NAME` CI runs it; `sql: WHERE`; `pack`;
`part: FRAMEWORK` is run where that framework is installed.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
_BLOCK = re.compile(r"(?:^<!-- ([a-z ]+)(?:: (.*?))? -->\n)?^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\((?!https?://)([^)#\s]*)(?:#([^)\s]+))?\)")


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    language: str
    text: str
    key: str
    value: str


def blocks(page: Path) -> list[Block]:
    return [Block(m[3], m[4], m[1] or "", m[2] or "") for m in _BLOCK.finditer(page.read_text())]


def links(page: Path) -> Iterator[tuple[Path, str]]:
    """Target and anchor of each link to another page."""
    for match in _LINK.finditer(page.read_text()):
        yield (page.parent / match[1]).resolve() if match[1] else page, match[2] or ""


def anchors(page: Path) -> set[str]:
    """What a heading can be linked by."""
    heads = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()
