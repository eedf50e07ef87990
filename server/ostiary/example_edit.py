"""A file of examples with one more, or one less: the rest of it stays as people wrote it."""

import json
import os
import tomllib
from pathlib import Path

from ostiary.example_files import sections
from ostiary_tools.examples import Example


def with_one_more(text: str, example: Example) -> str:
    """The text with the example at its end."""
    before = text if not text or text.endswith("\n") else f"{text}\n"
    return f"{before}{chr(10) if before else ''}{written(example)}"


def without(text: str, line: int) -> str:
    """The text without the example that begins on that line; comments behind it stay, for they may belong to the next.

    Raises KeyError when none begins there.
    """
    piece = dict(sections(text))[line].split("\n")
    while piece and (not piece[-1].strip() or piece[-1].lstrip().startswith("#")) and _same("\n".join(piece[:-1]), piece):
        piece.pop()
    lines = text.split("\n")
    rest = lines[line - 1 + len(piece) :]
    if rest and not rest[0].strip() and (line == 1 or not lines[line - 2].strip()):
        rest = rest[1:]
    return "\n".join([*lines[: line - 1], *rest])


def written(example: Example) -> str:
    """As TOML. SQL of several lines stays readable where it may."""
    sql = f"'''\n{example.sql}\n'''" if "\n" in example.sql and "'''" not in example.sql else _text(example.sql)
    fields = {"question": _text(example.question), "datasource": _text(example.datasource), "sql": sql}
    fields |= {"note": _text(example.note)} if example.note else {}
    return "\n".join(["[[example]]", *(f"{name} = {value}" for name, value in fields.items()), ""])


def replace_file(path: Path, text: str) -> None:
    """Write it whole or not at all: a server that follows the file never reads half of it. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.write_text(text, "utf-8")
    if path.exists():
        new.chmod(path.stat().st_mode & 0o7777)
    new.replace(path)


def _text(value: str) -> str:
    # JSON's texts are TOML's.
    return json.dumps(value, ensure_ascii=False)


def _same(shorter: str, piece: list[str]) -> bool:
    """Whether the piece means the same without its last line: what looks like a comment may be a line of a text."""
    try:
        return tomllib.loads(shorter) == tomllib.loads("\n".join(piece))
    except tomllib.TOMLDecodeError:
        return False
