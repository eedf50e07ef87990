"""HTML and SVG that is escaped by its type: a text is never markup, whatever it holds.

Only `element` makes markup, and only out of tags and attributes that are written in this program.
"""

from html import escape
from typing import TypeAlias

from ostiary.cli_options import one_line

_VOID = frozenset({"meta", "rect", "line", "circle", "path"})


class Markup(str):
    """What a browser may read as it is."""

    __slots__ = ()


Content: TypeAlias = Markup | str | None


def element(tag: str, *content: Content, **attributes: str | float | None) -> Markup:
    """`<tag …>content</tag>`. In names of attributes `_` stands for `-`, and is left out at the end: `class_`."""
    said = "".join(f' {_named(name)}="{_text(str(value))}"' for name, value in attributes.items() if value is not None)
    if tag in _VOID and not content:
        return Markup(f"<{tag}{said}/>")
    return Markup(f"<{tag}{said}>{joined(*content)}</{tag}>")


def joined(*content: Content) -> Markup:
    """One after the other."""
    return Markup("".join(one if isinstance(one, Markup) else _text(one) for one in content if one is not None))


def _named(name: str) -> str:
    return name.rstrip("_").replace("_", "-") if name != "viewBox" else name


def _text(text: str) -> str:
    """Without what would turn the direction of a line, or end it."""
    return escape(one_line(text), quote=True)
