"""Whether a statement holds comments: text that nothing of the judge looks at."""

from pglast.parser import scan

_COMMENTS = frozenset({"SQL_COMMENT", "C_COMMENT"})


def has_comment(text: str) -> bool:
    """Of a text that PostgreSQL's scanner accepts."""
    return any(token.name in _COMMENTS for token in scan(text))
