"""The text of a row by a template over its columns."""

import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ostiary_tools.errors import Refused

_PIECE = re.compile(r"(?P<text>[^{}]+)|(?P<brace>\{\{|\}\})|\{(?P<column>[^{}]+)\}")


@dataclass(frozen=True, slots=True)
class Template:
    """Read once, filled for every row."""

    pieces: tuple[tuple[str, str], ...]
    """A text, and the column that follows it; the last follows none, and has an empty name."""

    @property
    def columns(self) -> frozenset[str]:
        """Those that it shows."""
        return frozenset(column for _, column in self.pieces if column)

    def filled(self, row: Mapping[str, str | None]) -> str:
        """The text of a row; NULL is empty. Values are put in as they are: a brace in one is a brace."""
        return "".join(text + (row[column] or "" if column else "") for text, column in self.pieces)


def parsed(template: str, columns: Collection[str] | None = None) -> Template:
    """The template, of whose columns each is one of these, where they are told. Raises Refused."""
    pieces: list[tuple[str, str]] = []
    text, position = "", 0
    while position < len(template):
        found = _PIECE.match(template, position)
        if found is None:
            raise Refused(
                "template", "a brace of the template is not closed, or closes nothing", "write `{column}`, and `{{` for a brace"
            )
        if found["column"] is None:
            text += found["text"] or found["brace"][0]
        else:
            pieces.append((text, found["column"] if columns is None else _known(found["column"], columns)))
            text = ""
        position = found.end()
    if not pieces:
        raise Refused("template", "the template shows no column, so that every row would have the same text", "write `{column}`")
    return Template((*pieces, (text, "")))


def _known(column: str, columns: Collection[str]) -> str:
    if column in columns:
        return column
    near = difflib.get_close_matches(column, columns, n=1)
    hint = f"did you mean `{near[0]}`?" if near else "name columns of the statement"
    raise Refused("template", f"the template shows `{column}`, which is no column of the statement", hint)
