"""Payment cards, bank accounts and national identity numbers, by their check digits. python-stdnum knows most of the rules."""

import re
from collections.abc import Callable

from stdnum import iban, luhn
from stdnum.br import cpf
from stdnum.es import dni, nie
from stdnum.fr import nir
from stdnum.it import codicefiscale
from stdnum.nl import bsn
from stdnum.pl import pesel
from stdnum.se import personnummer
from stdnum.us import ssn

_CARD = re.compile(r"[0-9]{13,19}|[0-9]{4}(?:[ -][0-9]{4}){2,3}(?:[ -][0-9]{1,4})?|[0-9]{4}[ -][0-9]{6}[ -][0-9]{4,5}")
_CARD_WITHIN = re.compile(rf"(?<![\w.-])(?:{_CARD.pattern})(?![\w-])")
_ISSUERS = (
    (re.compile(r"4"), (13, 16, 19)),  # Visa
    (re.compile(r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), (16,)),  # Mastercard
    (re.compile(r"3[47]"), (15,)),  # American Express
    (re.compile(r"30[0-5]|3095|36|3[89]"), (14, 16, 19)),  # Diners Club
    (re.compile(r"6011|64[4-9]|65"), (16, 19)),  # Discover
    (re.compile(r"35(?:2[89]|[3-8])"), (16, 17, 18, 19)),  # JCB
    (re.compile(r"62"), (16, 17, 18, 19)),  # UnionPay
    (re.compile(r"50[0-9]|5[6-8]|6304|67"), (16, 18, 19)),  # Maestro; its short numbers are as good as any number
)
_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11,30}")
_IBAN_WITHIN = re.compile(r"(?<!\w)[A-Z]{2}[0-9]{2}(?:[A-Z0-9]{11,30}|(?: [A-Z0-9]{4}){2,7}(?: [A-Z0-9]{1,3})?)(?!\w)")
_NINO = re.compile(r"(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D]")

_MEASURED = re.compile(r"[-+]?[0-9]*\.[0-9]+(?:[eE][-+]?[0-9]+)?")
_FEWEST_DIGITS = 5
_CODICE_FISCALE = re.compile(r"[A-Z]{6}[0-9LMNPQRSTUV]{2}[A-Z][0-9LMNPQRSTUV]{2}[A-Z][0-9LMNPQRSTUV]{3}[A-Z]")


def is_card(value: str) -> bool:
    """A number within an issuer's range (ISO/IEC 7812-1, as the issuers publish theirs) and length, with Luhn's check digit."""
    value = value.strip()
    if not _CARD.fullmatch(value):
        return False
    digits = value.replace(" ", "").replace("-", "")
    known = any(start.match(digits) and len(digits) in lengths for start, lengths in _ISSUERS)
    return known and len(set(digits)) > 1 and bool(luhn.is_valid(digits))


def cards_within(text: str) -> int:
    """How many stand in a text."""
    return sum(is_card(found[0]) for found in _CARD_WITHIN.finditer(text))


def is_iban(value: str) -> bool:
    """ISO 13616: mod 97 and the form of its country in SWIFT's registry, as stdnum.iban has them."""
    value = value.strip().upper()
    return _IBAN.fullmatch(value) is not None and bool(iban.is_valid(value))


def ibans_within(text: str) -> int:
    """How many stand in a text."""
    return sum(is_iban(found[0]) for found in _IBAN_WITHIN.finditer(text))


def like_identity(value: str) -> bool:
    """Whether an identity number of any country may look so: five digits at least, and no measurement."""
    return sum(letter.isdigit() for letter in value) >= _FEWEST_DIGITS and not _MEASURED.fullmatch(value.strip())


def _is_ssn(value: str) -> bool:
    """United States, with its hyphens: without, the rule of the Social Security Administration lets almost any nine digits pass."""
    return re.fullmatch(r"[0-9]{3}-[0-9]{2}-[0-9]{4}", value) is not None and bool(ssn.is_valid(value))


def _is_nino(value: str) -> bool:
    """United Kingdom: the format of HM Revenue & Customs' manual NIM39110; it has no check digit."""
    return _NINO.fullmatch(value) is not None


def _is_dni(value: str) -> bool:
    """Spain: eight digits and the letter of their remainder by 23, or NIE of a foreigner; Ministerio del Interior, stdnum.es."""
    return re.fullmatch(r"[0-9]{8}[ -]?[A-Z]|[XYZ][ -]?[0-9]{7}[ -]?[A-Z]", value) is not None and bool(
        dni.is_valid(value) or nie.is_valid(value)
    )


def _is_codice_fiscale(value: str) -> bool:
    """Italy: sixteen characters, the last of them a check; decree of 23 December 1976, stdnum.it.codicefiscale."""
    return _CODICE_FISCALE.fullmatch(value) is not None and bool(codicefiscale.is_valid(value))


def _is_bsn(value: str) -> bool:
    """Netherlands: nine digits that pass the eleven test; Logisch Ontwerp BSN, stdnum.nl.bsn."""
    return re.fullmatch(r"[0-9]{9}|[0-9]{4}[. ][0-9]{2}[. ][0-9]{3}", value) is not None and bool(bsn.is_valid(value))


def _is_pesel(value: str) -> bool:
    """Poland: eleven digits with a date of birth and a weighted check digit; act of 24 September 2010, stdnum.pl.pesel."""
    return re.fullmatch(r"[0-9]{11}", value) is not None and bool(pesel.is_valid(value))


def _is_personnummer(value: str) -> bool:
    """Sweden: a date of birth and four digits, the last by Luhn; Skatteverket SKV 704, stdnum.se.personnummer."""
    return re.fullmatch(r"(?:[0-9]{2})?[0-9]{6}[-+]?[0-9]{4}", value) is not None and bool(personnummer.is_valid(value))


def _is_cpf(value: str) -> bool:
    """Brazil: eleven digits, two of them checks; Receita Federal, stdnum.br.cpf."""
    return re.fullmatch(r"[0-9]{11}|[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}", value) is not None and bool(cpf.is_valid(value))


def _is_nir(value: str) -> bool:
    """France: thirteen characters with month and place of birth, and a key of mod 97; INSEE, stdnum.fr.nir."""
    return re.fullmatch(r"[12][0-9A-B ]{14,20}", value) is not None and bool(nir.is_valid(value))


def _stripped(test: Callable[[str], bool]) -> Callable[[str], bool]:
    return lambda value: test(value.strip().upper())


NATIONAL_IDS = tuple(
    (name, _stripped(test))
    for name, test in (
        ("US SSN", _is_ssn),
        ("UK NINO", _is_nino),
        ("Spanish DNI or NIE", _is_dni),
        ("Italian codice fiscale", _is_codice_fiscale),
        ("Dutch BSN", _is_bsn),
        ("Polish PESEL", _is_pesel),
        ("Swedish personnummer", _is_personnummer),
        ("Brazilian CPF", _is_cpf),
        ("French NIR", _is_nir),
    )
)
"""Each by its own rule; a column is one country's."""
