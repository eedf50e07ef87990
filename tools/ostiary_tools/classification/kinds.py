"""The kinds of data that are looked for: the tag each asks for, the names it goes by, and the values it has.

A kind that has a test of values is proposed without a telling name only when nearly all values pass, for a check digit alone passes
one number in ten.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from ostiary_tools.classification import contacts, credentials, numbers, people
from ostiary_tools.classification.column import Family

Test = Callable[[str], bool]

_ENDING = (
    r"(?:_?[0-9]++|_(?:home|work|private|personal|primary|secondary|main|business|office|billing|shipping|contact|raw|text))*$"
)
"""What may follow a telling word; any other word makes it a fact about the thing (`email_verified`, `phone_model`).

The digits are taken whole (`++`): taken in every way, a hostile name of many would cost more than anybody lives.
"""
_TEXT = frozenset({Family.TEXT})
_WRITTEN = frozenset({Family.TEXT, Family.NUMBER})
_DATED = frozenset({Family.TEXT, Family.TIME})
_HIDDEN = frozenset({Family.TEXT, Family.BYTES, Family.NUMBER})


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of data."""

    name: str
    tag: str
    words: re.Pattern[str]
    """Searched for in a column's name in snake case."""
    families: frozenset[Family]
    """Types whose name counts, and whose whole values are tested."""
    plausible: Test = lambda _: True
    """Whether a column named so may hold the value: most of them must, or the name is taken to mean another thing."""
    schemes: tuple[tuple[str, Test], ...] = ()
    """Tests of whole values, each with its name, empty where there is only one. The one that most values pass counts."""
    share: float = 0.8
    """Of the values that must pass where the name does not tell."""
    within: Callable[[str], int] | None = None
    """How often it stands within a text."""
    within_share: float = 0.01
    """Of the texts that must hold it."""


def _named(words: str) -> re.Pattern[str]:
    return re.compile(rf"(?:^|_)(?:{words}){_ENDING}")


def _has_digit(value: str) -> bool:
    return any(letter.isdigit() for letter in value)


KINDS = (
    Kind(
        "email", "pii:email",
        _named(r"e_?mail(?:_?(?:address|addr|adresse))?|correo(?:_electronico)?|courriel|mail(?:_address|_addr|adresse)?"),
        _TEXT, contacts.like_email, (("", contacts.is_email),), 0.5, contacts.emails_within, 0.002,
    ),
    Kind(
        "phone", "pii:phone",
        _named(r"(?:(?:tele|mobile|cell|home|work)_?)?phone(?:_?(?:number|num|no|nr))?|mobile(?:_?(?:number|no|nr))?|msisdn|fax(?:_?(?:number|no|nr))?"
               r"|tel|telefono?|telefoon|handy(?:nummer)?|telefonnummer|cell_?(?:number|no)|whatsapp(?:_number)?"),
        _WRITTEN, contacts.like_phone, contacts.PHONES, 0.8, contacts.phones_within, 0.01,
    ),
    Kind(
        "card", "pii:card",
        _named(r"(?:credit_?|debit_?|payment_?|bank_?)?card_?(?:number|num|no|nr|pan|last_?(?:4|four)|digits)|credit_?card|ccn?_?(?:number|num)|pan_last_?4"),
        _WRITTEN, _has_digit, (("", numbers.is_card),), 0.8, numbers.cards_within, 0.2,
    ),
    Kind(
        "iban", "pii:iban", _named(r"iban(?:_?(?:number|no|nr|code))?"),
        _TEXT, _has_digit, (("", numbers.is_iban),), 0.5, numbers.ibans_within, 0.002,
    ),
    Kind(
        "national_id", "pii:national_id",
        _named(r"national_?(?:id(?:entity)?|insurance)(?:_?(?:number|no|nr|card))?|identity_?(?:card_?)?(?:number|no)|id_?card(?:_?(?:number|no))?"
               r"|ssn|social_?security(?:_?(?:number|no))?|nino|dni|nie|nif|codice_?fiscale|bsn|burgerservicenummer|pesel|personnummer"
               r"|personal_?(?:id(?:entity)?_?)(?:number|no|code)|cpf|nir|steuer_?id|passport(?:_?(?:number|num|no|nr))?|passnummer"
               r"|(?:driver|driving)s?_?licen[cs]e(?:_?(?:number|no))?|tax_?payer_?id"),
        _WRITTEN, numbers.like_identity, numbers.NATIONAL_IDS,
    ),
    Kind(
        "ip", "pii:ip", _named(r"ip_?(?:v[46]_?)?(?:addr(?:ess)?)?|remote_addr"),
        frozenset({Family.TEXT, Family.NETWORK}), contacts.is_ip, (("", contacts.is_ip),),
    ),
    Kind(
        "birth_date", "pii:birth_date",
        _named(r"birth_?(?:date|day|year)|date_?of_?birth|dob|born(?:_(?:on|at))?|geburts(?:datum|tag)|fecha_?(?:de_?)?nacimiento|date_?(?:de_?)?naissance"
               r"|geboortedatum|data_?(?:di_?)?nascita|year_?of_?birth"),
        _DATED | {Family.NUMBER}, _has_digit,
    ),
    Kind(
        "address", "pii:address",
        _named(r"street(?:_?(?:address|name|line))?|(?:postal|home|mailing|delivery|shipping|billing|residential|street|postale?)_?address|(?<!ip_)(?<!mac_)(?<!mail_)address"
               r"|addr(?:ess)?_?(?:line_?)?[1-4]|address_?line|house_?(?:number|no|nr)|(?:post|postal|zip)_?code|zip|postcode|plz|postleitzahl|stra(?:ss|ß)e"
               r"|hausnummer|direccion|code_?postal|codigo_?postal"),
        _WRITTEN, contacts.like_address,
    ),
    Kind(
        "name", "pii:name",
        _named(r"(?:full|first|last|middle|given|family|maiden|birth|sur|fore|nick|preferred)_?name"
               r"|(?:customer|client|employee|patient|person|contact|member|guest|student|teacher|recipient|sender|author|passenger"
               r"|beneficiary|holder|account_?holder|card_?holder|emergency_contact|spouse|doctor|signatory)_?(?:full_?)?name"
               r"|account_?holder|card_?holder|contact_person|signatory|vorname|nachname|familienname|apellidos?|prenom|voornaam|achternaam|cognome"),
        _TEXT, people.like_name, (), 1.0, people.named_within, 0.02,
    ),
    Kind(
        "salary", "secret",
        _named(r"(?:base_?|annual_?|yearly_?|monthly_?|gross_?|net_?|current_?)?(?:salary|wages?|compensation|gehalt|salaire|salario|stipendio|lohn)"
               r"(?:_(?:amount|gross|net|eur|usd|gbp|per_year|per_month|annual|monthly|yearly))*|(?:gross|net|take_home)_pay|pay_?rate|hourly_?rate"),
        _WRITTEN, _has_digit,
    ),
    Kind(
        "password", "secret",
        _named(r"(?:[a-z]+_)*pass_?(?:word|wd|phrase|code)(?:_?(?:hash|digest|salt|encrypted|enc))?|(?:[a-z]+_)*pwd(?:_?hash)?|cvv2?|cvc2?"
               r"|(?:card|user|login|access)_pin|pin_?(?:number|hash)|security_?answer|recovery_?codes?"),
        _HIDDEN, credentials.like_password, (("hash", credentials.is_password_hash),),
    ),
    Kind(
        "secret", "secret",
        _named(r"(?:[a-z]+_)*(?:secret|token)(?:_?(?:key|hash|value))?|credentials?|(?:totp|otp|mfa|2fa)_?(?:secret|seed|key)"
               r"|(?:[a-z]+_)*(?:api|access|private|secret|signing|encryption|master|ssh|license|licence|recovery|hmac|webhook)_?key(?:_?hash)?"),
        _HIDDEN, credentials.like_secret, credentials.SCHEMES, 0.8, credentials.within, 0.002,
    ),
)  # fmt: skip

PEOPLE = re.compile(
    r"(?:^|_)(?:customer|client|user|person|people|employee|staff|member|patient|student|teacher|contact|guest|subscriber|author|candidate"
    r"|applicant|driver|passenger|tenant|voter|resident|doctor|nurse|worker|volunteer|donor|attendee|participant|employe|kunde|mitarbeiter)"
    r"(?:s|n|es|_list|_data|_details|_records)?$"
)
"""Tables whose rows are people, so that a column that is only called `name` holds theirs."""
