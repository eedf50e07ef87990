"""A statement that does not parse: where, near which words, and what PostgreSQL writes instead."""

from difflib import get_close_matches

from pglast.parser import ParseError, scan

from ostiary_tools.errors import Refused
from ostiary_tools.sql import dialects

_WORDS_CHARS = 30
"""Of the statement repeated before the place."""
_MESSAGE_CHARS = 100
"""The parser repeats an unterminated text to its end."""
_TYPED_WRONG = (
    *("select", "from", "where", "group", "by", "order", "having", "limit", "offset", "union", "join", "left", "inner"),
    *("distinct", "values", "over", "partition", "between", "exists", "with", "recursive", "case", "when", "then", "else"),
    *("intersect", "except", "lateral", "and", "not"),
)


def refusal(error: ParseError, text: str) -> Refused:
    """The refusal of a text that the grammar does not take."""
    message = str(error.args[0] if error.args else error).partition(", at index")[0]
    offset = _offset(error, text)
    message = message if len(message) <= _MESSAGE_CHARS else f"{message[:_MESSAGE_CHARS]}…"
    at = len(text.rstrip()) if offset is None else offset
    where = f" ({place(text, at)}{_before(text, at)})"
    return Refused("syntax", f"the statement does not parse: {message}{where}", _hint(text, at), quotes=True)


def place(text: str, offset: int) -> str:
    """Line and column, from 1, of an offset in characters."""
    line = text.count("\n", 0, offset) + 1
    return f"line {line}, column {offset - (text.rfind(chr(10), 0, offset) + 1) + 1}"


def _offset(error: ParseError, text: str) -> int | None:
    """Where the parser stumbled, in characters.

    The binding takes the parser's count of characters for one of bytes and converts it once more; this undoes it.
    """
    index = error.args[1] if len(error.args) > 1 else None
    return min(len(text[:index].encode()), len(text)) if isinstance(index, int) else None


def _before(text: str, offset: int) -> str:
    words = " ".join(text[max(0, offset - 4 * _WORDS_CHARS) : offset].split())
    shown = words if len(words) <= _WORDS_CHARS else "…" + words[-_WORDS_CHARS:]
    return f", after `{shown}`" if shown else ""


def _hint(text: str, offset: int) -> str:
    return dialects.syntax(text) or _mistyped(text, offset) or _unbalanced(text) or "write it in PostgreSQL's SQL"


def _mistyped(text: str, offset: int) -> str:
    """A word at the place or just before it that is nearly a keyword, or a comma too many."""
    try:
        tokens = scan(text)
    except ParseError:
        return ""
    at = next((n for n, token in enumerate(tokens) if token.start >= offset), len(tokens))
    before = tokens[at - 1] if at else None
    if before is not None and before.name == "ASCII_44":
        return "remove the comma before it, or write what should follow"
    if before is not None and before.name in ("FROM", "JOIN") and at < len(tokens) and tokens[at].name != "IDENT":
        word = text[tokens[at].start : tokens[at].end + 1]
        return f'`{word}` is a keyword: a table of that name is written `"{word}"`' if word.isalpha() else ""
    # A mistyped keyword reads as a name, and fails at the word after it.
    for token in (*tokens[max(0, at - 1) : at], *tokens[at : at + 1]):
        word = text[token.start : token.end + 1].lower()
        near = get_close_matches(word, _TYPED_WRONG, 1, 0.74) if token.name == "IDENT" and word.isalpha() else []
        if near and word != f"{near[0]}s":
            return f"did you mean `{near[0]}` for `{word}`?"
    return ""


def _unbalanced(text: str) -> str:
    try:
        names = [token.name for token in scan(text)]
    except ParseError:
        return "close the quote or comment" if text.count("'") % 2 or text.count('"') % 2 or "/*" in text else ""
    opened, closed = names.count("ASCII_40"), names.count("ASCII_41")
    if opened != closed:
        return "a closing parenthesis is missing" if opened > closed else "there is a closing parenthesis too many"
    return ""
