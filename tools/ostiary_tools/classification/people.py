"""What names of people look like. That is little: any capitalised words do, and many names are not written so.

So a name is proposed by what a column is called, and values only confirm it. In free text only a name behind a
title or a greeting is found; one in the midst of a sentence is not.
"""

import re

_WORD = r"(?:[^\W\d_]|['\u2019-])+\.?"
_NAME = re.compile(rf"{_WORD}(?:,? {_WORD}){{0,5}}")
_TITLED = re.compile(
    r"\b(?:Mr|Mrs|Ms|Miss|Dr|Prof|Herrn?|Frau|Monsieur|Madame|Mme|Señora?|Signora?"
    r"|Dear|Kind regards,|Best regards,|Sincerely,)\.?\s+"
    r"(?!(?:Sir|Madam|Team|All|Customer|Customers|Support|Colleagues?|Everyone|Friends?|Valued)\b)[^\W\d_a-z][^\W\d_]+"
)
_WORDS = range(2, 5)


def like_name(value: str) -> bool:
    """Whether it may be one: a few words of letters, in any script."""
    return len(value) <= 100 and _NAME.fullmatch(value.strip()) is not None  # noqa: PLR2004 longer is a text


def is_full_name(value: str) -> bool:
    """Two to four words of letters that each begin in upper case, which a person's name in most Latin writing does."""
    words = value.strip().replace(",", "").split(" ")
    return len(words) in _WORDS and like_name(value) and all(word[:1].isupper() and not word.isupper() for word in words)


def named_within(text: str) -> int:
    """How many names stand behind a title or a greeting."""
    return sum(1 for _ in _TITLED.finditer(text))
