"""What e-mail addresses, telephone numbers and IP addresses look like."""

import re
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address

from phonenumbers import NumberParseException, is_valid_number, parse

_LOCAL = r"[A-Za-z0-9!#$%&'*+=?^_`{|}~.-]{1,64}"
_DOMAIN = r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}[A-Za-z]{2,24}"
_EMAIL = re.compile(f"{_LOCAL}@{_DOMAIN}")
_EMAIL_WITHIN = re.compile(rf"(?<![\w:/@.+-])(?!git@)[\w.+-]{{1,64}}@{_DOMAIN}(?![\w@:])")
_PHONE = re.compile(r"\+?[0-9(][0-9 ()./\u2010-\u2013-]{4,22}[0-9](?: ?(?:x|ext\.?) ?[0-9]{1,5})?")
_PHONE_WITHIN = re.compile(r"(?<![\w+])\+[1-9][0-9 ()./-]{6,20}[0-9](?!\w)")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}.*|[0-9]{1,2}[./-][0-9]{1,2}[./-](?:[0-9]{2}){1,2}")
_PARTED = re.compile(r".*[0-9][ )/-].*|(?:[0-9]+\.){2,}[0-9]+")
"""Bare digits are no number: they could count anything."""
_DIGITS = range(7, 16)
"""E.164 has fifteen at most; fewer than seven are an extension or a count."""
_PART_OF_ADDRESS = 12
_IP_CHARS = re.compile(r"[0-9a-fA-F.:]{3,39}(?:/[0-9]{1,3})?")
_TRUNK = re.compile(r"\(?0.*")
_NATIONAL = {
    "US": re.compile(r"(?:1[ .-])?\(?[2-9][0-9]{2}\)?[ .-]?[0-9]{3}[ .-][0-9]{4}.*"),
    "GB": _TRUNK,
    "DE": _TRUNK,
    "FR": _TRUNK,
    "NL": _TRUNK,
    "SE": _TRUNK,
    "AU": _TRUNK,
    "IT": re.compile(r"\(?0.*|3[0-9]{2}[ -].*"),
    "ES": re.compile(r"[6-9][0-9]{2}[ -].*"),
    "PL": re.compile(r"[0-9]{3}[ -][0-9]{3}[ -][0-9]{3}|\(?[0-9]{2}\)? [0-9]{3}.*"),
    "BR": re.compile(r"\([0-9]{2}\).*"),
    "IN": re.compile(r"[6-9][0-9]{4}[ -][0-9]{5}|\(?0.*"),
}
"""How numbers are begun within a country; libphonenumber alone would take digits without the prefix for a number of it."""


def like_email(value: str) -> bool:
    """Whether it might be meant as one."""
    return "@" in value


def is_email(value: str) -> bool:
    """The addr-spec of RFC 5322 as mail systems take it: no quoted local part, no literal, a domain that ends in letters."""
    return _EMAIL.fullmatch(value.strip()) is not None


def emails_within(text: str) -> int:
    """How many stand in a text; logins in URLs and of ssh are none."""
    return sum(1 for _ in _EMAIL_WITHIN.finditer(text))


def like_phone(value: str) -> bool:
    """Whether it has the shape of a telephone number in any country, one of a test range among them."""
    value = value.strip()
    digits = sum(letter.isdigit() for letter in value)
    return digits in _DIGITS and _PHONE.fullmatch(value) is not None and _DATE.fullmatch(value) is None


def _is_international(value: str) -> bool:
    """E.164, with `+` or `00` before it, by the numbering plans of libphonenumber."""
    number = value.strip()
    if number.startswith("00"):
        number = "+" + number[2:].lstrip()
    return number.startswith("+") and like_phone(number) and _is_valid(number, None)


def _is_national(region: str, value: str) -> bool:
    """As it is written within a country, parted, by the same plans."""
    number = value.strip()
    written = _NATIONAL[region].fullmatch(number) and _PARTED.fullmatch(number) and not number.startswith("00")
    return bool(written) and like_phone(number) and _is_valid(number, region)


def _is_valid(number: str, region: str | None) -> bool:
    try:
        return is_valid_number(parse(number, region))
    except NumberParseException:
        return False


PHONES: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("E.164", _is_international),
    *(("national", partial(_is_national, region)) for region in _NATIONAL),
)
"""International, or as people write them within one country; which one it is, plans that resemble each other leave open."""


def phones_within(text: str) -> int:
    """How many international ones stand in a text."""
    return sum(_is_international(found[0]) for found in _PHONE_WITHIN.finditer(text))


def like_address(value: str) -> bool:
    """Whether it may be of a postal address: a part of one is short, a whole one has blanks; other addresses are neither."""
    value = value.strip()
    return "@" not in value and "://" not in value and not is_ip(value) and (" " in value or len(value) <= _PART_OF_ADDRESS)


def is_ip(value: str) -> bool:
    """One address of IPv4 or IPv6, with the mask that PostgreSQL prints after some."""
    value = value.strip()
    if not _IP_CHARS.fullmatch(value):
        return False
    try:
        ip_address(value.partition("/")[0])
    except ValueError:
        return False
    return True
