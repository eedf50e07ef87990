"""What secrets look like: keys and tokens with the prefix of who issues them, hashes of passwords, private keys, random strings."""

import re
from collections import Counter
from math import log2

_ISSUED = re.compile(
    r"(?:AKIA|ASIA)[0-9A-Z]{16}"  # Amazon Web Services
    r"|gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{40,}|glpat-[A-Za-z0-9_-]{20,}"
    r"|[sr]k_(?:live|test)_[A-Za-z0-9]{16,}|whsec_[A-Za-z0-9]{24,}"  # Stripe
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,}|AIza[A-Za-z0-9_-]{35}|sk-[A-Za-z0-9_-]{20,}|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}"
    r"|npm_[A-Za-z0-9]{36}|pypi-[A-Za-z0-9_-]{40,}|dop_v1_[0-9a-f]{64}|hvs\.[A-Za-z0-9_-]{20,}"
)
_JWT = re.compile(r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*…?")
_PRIVATE_KEY = re.compile(
    r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----|PuTTY-User-Key-File-[0-9]|AGE-SECRET-KEY-1[0-9A-Z]{20,}"
)
_PASSWORD_HASH = re.compile(
    r"\$2[abxy]?\$[0-9]{2}\$[./A-Za-z0-9]{53}|\$(?:argon2(?:id|i|d)|scrypt|pbkdf2[a-z0-9-]*|[156y]|7|sha1|md5)\$\S+"
    r"|SCRAM-SHA-256\$\S+|(?:pbkdf2_sha(?:1|256|512)|bcrypt(?:_sha256)?|argon2|scrypt)\$\S+|\{S?SHA(?:256|512)?\}\S+|\*[0-9A-F]{40}"
)
_URL_PASSWORD = re.compile(r"\b[a-z][a-z0-9+.-]{1,20}://[^\s:/@]{1,100}:[^\s/@]{3,200}@\S+")
_BOUNDED = rf"(?<![\w-])(?:{_ISSUED.pattern})(?![\w-])|(?<![\w-]){_JWT.pattern}"
_WITHIN = re.compile(rf"{_BOUNDED}|{_PRIVATE_KEY.pattern}|{_URL_PASSWORD.pattern}")
_RANDOM = re.compile(r"[A-Za-z0-9+/_=.~-]{24,}…?")
_HEX = re.compile(r"[0-9a-f-]+|[0-9A-F-]+")
_FLAGS = frozenset({"true", "false", "yes", "no", "t", "f", "0", "1", "none", "null"})
_SHORTEST_PASSWORD = 3
_SHORTEST_SECRET = 12
_ENTROPY = 3.7
"""Bits a character, counted within one value: words and paths of twenty to forty characters stay below, random ones are above."""


def like_password(value: str) -> bool:
    """Whether it may be one that a person chose, or its hash; a flag is none."""
    return len(value) >= _SHORTEST_PASSWORD and value not in _FLAGS


def like_secret(value: str) -> bool:
    """Whether a program's secret may look so: long and without blanks, or a key of several lines. Tokens of a text are words."""
    piece = value.strip()
    return (len(piece) >= _SHORTEST_SECRET and not re.search(r"\s", piece)) or is_private_key(value)


def is_issued(value: str) -> bool:
    """A key of a service that marks its keys."""
    return _ISSUED.fullmatch(value.strip()) is not None


def is_jwt(value: str) -> bool:
    """RFC 7519 in the compact form of RFC 7515: header and claims both begin as JSON objects do."""
    return _JWT.fullmatch(value.strip()) is not None


def is_private_key(value: str) -> bool:
    """RFC 7468 and OpenSSH, PuTTY and age alike."""
    return _PRIVATE_KEY.search(value) is not None


def is_password_hash(value: str) -> bool:
    """In the modular crypt format, or the forms of PostgreSQL, Django, LDAP and MySQL."""
    return _PASSWORD_HASH.fullmatch(value.strip()) is not None


def is_random(value: str) -> bool:
    """As random as a token, of both cases and digits. Hexadecimal is left to the name: most of it is digests and ids."""
    value = value.strip()
    if not _RANDOM.fullmatch(value) or _HEX.fullmatch(value) or value.count("/") > 2 or value.count(".") > 1:  # noqa: PLR2004 paths, hosts
        return False
    mixed = all(any(test(letter) for letter in value) for test in (str.isupper, str.islower, str.isdigit))
    return mixed and _entropy(value) >= _ENTROPY


def _entropy(value: str) -> float:
    total = len(value)
    return -sum(n / total * log2(n / total) for n in Counter(value).values())


def is_url_with_password(value: str) -> bool:
    """A URL that logs in."""
    return _URL_PASSWORD.fullmatch(value.strip()) is not None


SCHEMES = (
    ("API key", is_issued),
    ("JWT", is_jwt),
    ("private key", is_private_key),
    ("URL with password", is_url_with_password),
    ("random", is_random),
)


def within(text: str) -> int:
    """How many keys, tokens and URLs that log in stand in a text."""
    return sum(1 for _ in _WITHIN.finditer(text))
