"""What is found in generated columns, and what is not taken for something that it only resembles."""

import base64
import hashlib
import random
import re
import string
import uuid
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum.it import codicefiscale

from ostiary_tools.classification.column import Family, Sampled, snake
from ostiary_tools.classification.detection import detect

ROWS = 200
SHAPES = re.compile(
    r"[0-9A-Z]{9,16}|[0-9]{9,19}|[12][0-9AB ]{14,20}|[A-Z]{6}[0-9L-V]{2}[A-Z][0-9L-V]{2}[A-Z][0-9L-V]{3}[A-Z]"
    r"|[A-Z]{2}[0-9]{2}[0-9A-Z]{11,30}|\+?[0-9(][0-9 ()./-]{6,20}|[0-9]{6}[-+][0-9]{4}|[XYZ][0-9]{7}[A-Z]",
    re.ASCII,
)
Make = Callable[[random.Random], str]


def digits(r: random.Random, count: int, first: str = string.digits) -> str:
    return r.choice(first) + "".join(r.choice(string.digits) for _ in range(count - 1))


def with_luhn(body: str) -> str:
    doubled = [int(d) * (2 if place % 2 == 0 else 1) for place, d in enumerate(reversed(body))]
    return body + str(-sum(d // 10 + d % 10 for d in doubled) % 10)


def card(r: random.Random) -> str:
    plain = with_luhn(r.choice(("4", "51", "55")).ljust(2, "7") + digits(r, 13))
    return plain if r.random() < 0.5 else " ".join(plain[n : n + 4] for n in range(0, 16, 4))


def iban(r: random.Random) -> str:
    account = digits(r, 18)
    return f"DE{98 - int(account + '131400') % 97:02}{account}"


def weighted(body: str, weights: tuple[int, ...], modulus: int) -> int:
    return sum(int(d) * w for d, w in zip(body, weights, strict=True)) % modulus


def born(r: random.Random) -> str:
    return f"{r.randrange(40, 99)}{r.randrange(1, 13):02}{r.randrange(1, 29):02}"


def pesel(r: random.Random) -> str:
    body = born(r) + digits(r, 4)
    return body + str((10 - weighted(body, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3), 10)) % 10)


def bsn(r: random.Random) -> str:
    while True:
        body = digits(r, 8, "123456789")
        if (check := weighted(body, (9, 8, 7, 6, 5, 4, 3, 2), 11)) < 10:
            return body + str(check)


def cpf(r: random.Random) -> str:
    body = digits(r, 9)
    for _ in range(2):
        weights = tuple(range(len(body) + 1, 1, -1))
        body += str((11 - weighted(body, weights, 11)) % 11 % 10)
    return f"{body[:3]}.{body[3:6]}.{body[6:9]}-{body[9:]}"


def dni(r: random.Random) -> str:
    number = digits(r, 8)
    return number + "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23]


def codice_fiscale(r: random.Random) -> str:
    person = r.choice(("RSSMRA", "BNCLCU", "VRDGNN"))
    body = f"{person}{r.randrange(40, 99)}{r.choice('ABCDEHLMPRST')}{r.randrange(1, 29):02}H{r.randrange(100, 999)}"
    return body + codicefiscale.calc_check_digit(body)


def nir(r: random.Random) -> str:
    body = f"{r.choice('12')}{r.randrange(40, 99)}{r.randrange(1, 13):02}75{digits(r, 6)}"
    return f"{body}{97 - int(body) % 97:02}"


def email(r: random.Random) -> str:
    return f"{''.join(r.choices(string.ascii_lowercase, k=6))}.{r.randrange(1000)}@{r.choice(('example.com', 'mail.example.org'))}"


def token(r: random.Random) -> str:
    return base64.urlsafe_b64encode(r.randbytes(30)).decode()


def jwt(r: random.Random) -> str:
    parts = (base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (b'{"alg":"HS256"}', b'{"sub":"1234567"}'))
    return f"{'.'.join(parts)}.{token(r)}"


def ssn(r: random.Random) -> str:
    return f"{r.randrange(100, 600)}-{r.randrange(10, 99)}-{r.randrange(1000, 9999)}"


def nino(r: random.Random) -> str:
    return f"{r.choice('ABCEJ')}{r.choice('ABCEJ')}{digits(r, 6)}{r.choice('ABCD')}"


def sentence(holding: Make) -> Make:
    """A text that holds it one time in ten."""
    return lambda r: f"They asked again about {holding(r) if r.random() < 0.1 else 'the order'}, and then no more."


FOUND: tuple[tuple[str, Make, str], ...] = (
    ("pii:email", email, ""),
    ("pii:phone", lambda r: f"+49 30 9018{r.randrange(1000, 9999)}", "E.164"),
    ("pii:phone", lambda r: f"+1415555{r.randrange(2000, 9999)}", "E.164"),
    ("pii:phone", lambda r: f"(212) 55{r.randrange(5, 9)}-{r.randrange(1000, 9999)}", "national"),
    ("pii:phone", lambda r: f"020 7946 {r.randrange(1000, 9999)}", "national"),
    ("pii:phone", lambda r: f"06 12 {r.randrange(10, 99)} {r.randrange(10, 99)} {r.randrange(10, 99)}", "national"),
    ("pii:card", card, ""),
    ("pii:iban", iban, ""),
    ("pii:iban", lambda r: re.sub(r"(.{4})(?=.)", r"\1 ", iban(r)), ""),
    ("pii:national_id", ssn, "US SSN"),
    ("pii:national_id", nino, "UK NINO"),
    ("pii:national_id", dni, "Spanish DNI or NIE"),
    ("pii:national_id", codice_fiscale, "Italian codice fiscale"),
    ("pii:national_id", bsn, "Dutch BSN"),
    ("pii:national_id", pesel, "Polish PESEL"),
    ("pii:national_id", lambda r: f"{(one := with_luhn(born(r) + digits(r, 3)))[:6]}-{one[6:]}", "Swedish personnummer"),
    ("pii:national_id", cpf, "Brazilian CPF"),
    ("pii:national_id", nir, "French NIR"),
    ("pii:ip", lambda r: ".".join(str(r.randrange(1, 255)) for _ in range(4)), ""),
    ("pii:ip", lambda r: f"2001:db8::{r.randrange(1, 65535):x}", ""),
    ("secret", token, "random"),
    ("secret", jwt, "JWT"),
    ("secret", lambda r: "$2b$12$" + "".join(r.choices(string.ascii_letters, k=53)), "hash"),
    ("secret", lambda r: "AKIA" + "".join(r.choices(string.ascii_uppercase, k=16)), "API key"),
    ("secret", lambda r: f"-----BEGIN PRIVATE KEY-----\n{token(r)}\n-----END PRIVATE KEY-----", "private key"),
    ("secret", lambda r: f"postgresql://app:{token(r)[:12]}@db.example.org/shop", "URL with password"),
)
WITHIN: tuple[tuple[str, Make], ...] = (
    ("pii:email", email),
    ("pii:iban", iban),
    ("pii:phone", lambda r: f"+49 30 9018{r.randrange(1000, 9999)}"),
    ("pii:name", lambda r: f"Mrs {r.choice(('Sampleton', 'Exemplar', 'Mockridge'))}"),
    ("secret", lambda r: "AKIA" + "".join(r.choices(string.ascii_uppercase, k=16))),
)
RESEMBLING: tuple[tuple[str, Make], ...] = (
    ("id", lambda r: str(r.randrange(1, 10**6))),
    ("big_id", lambda r: str(r.randrange(10**17, 10**18))),
    ("order_no", lambda r: "4" + digits(r, 15)),
    ("order_number", lambda r: f"2024-{digits(r, 6)}"),
    ("reference", lambda r: digits(r, 9)),
    ("parcel", lambda r: digits(r, 11)),
    ("tracking", lambda r: "1Z" + "".join(r.choices(string.ascii_uppercase + string.digits, k=16))),
    ("barcode", lambda r: digits(r, 13)),
    ("imei", lambda r: with_luhn("35" + digits(r, 12))),
    ("sku", lambda r: f"{''.join(r.choices(string.ascii_uppercase, k=3))}-{digits(r, 4)}"),
    ("part_no", lambda r: f"{digits(r, 2)}-{digits(r, 4)}-{digits(r, 2)}"),
    ("amount", lambda r: f"{r.randrange(100, 10**8) / 100:.2f}"),
    ("ratio", lambda r: f"0.{digits(r, 9)}"),
    ("uuid", lambda r: str(uuid.UUID(int=r.getrandbits(128)))),
    ("checksum", lambda r: hashlib.sha256(r.randbytes(8)).hexdigest()),
    ("etag", lambda r: hashlib.md5(r.randbytes(8), usedforsecurity=False).hexdigest()),
    ("commit", lambda r: hashlib.sha1(r.randbytes(8), usedforsecurity=False).hexdigest()),
    ("created", lambda r: f"2024-{r.randrange(1, 13):02}-{r.randrange(1, 29):02} 10:{r.randrange(10, 60)}:00"),
    ("day", lambda r: f"{r.randrange(1, 29):02}.{r.randrange(1, 13):02}.{r.randrange(1990, 2025)}"),
    ("time_of_day", lambda r: f"{r.randrange(10, 24)}:{r.randrange(10, 60)}"),
    ("version", lambda r: f"{r.randrange(9)}.{r.randrange(99)}.{r.randrange(99)}"),
    ("location", lambda r: f"{r.uniform(-90, 90):.6f}, {r.uniform(-180, 180):.6f}"),
    ("colour", lambda r: f"#{r.randrange(16**6):06x}"),
    ("url", lambda r: f"https://example.org/{r.choice(('catalogue', 'Products'))}/{r.randrange(10**6)}?Page={r.randrange(9)}"),
    ("path", lambda r: f"/var/lib/Shop/images/{r.randrange(10**6)}/Thumbnail_{r.randrange(99)}.png"),
    ("slug", lambda r: "-".join(r.choices(("sturdy", "coffee", "grinder", "oak", "desk"), k=5))),
    ("remote", lambda r: f"git@git.example.org:team/project{r.randrange(999)}.git"),
    ("mac", lambda r: ":".join(f"{r.randrange(256):02x}" for _ in range(6))),
    ("isbn", lambda r: f"978-3-{digits(r, 4)}-{digits(r, 4)}-{digits(r, 1)}"),
    ("title", lambda r: " ".join(r.choices(("Sturdy", "Coffee", "Grinder", "Deluxe"), k=3))),
    ("city", lambda r: r.choice(("Samplebury", "Port Fiction", "Upper Testing"))),
    ("country_code", lambda r: r.choice(("DE", "FR", "NL"))),
    ("email_template", lambda r: r.choice(("welcome", "receipt", "reminder"))),
    ("email", lambda r: r.choice(("yes", "no"))),
    ("phone_model", lambda r: r.choice(("Nine", "Ten Plus", "Fold 4"))),
    ("mobile", lambda r: r.choice(("ios", "android"))),
    ("ip_version", lambda r: r.choice(("4", "6"))),
    ("token", lambda r: r.choice(("the", "doorkeeper", "opens", "reluctantly"))),
    ("password", lambda r: r.choice(("true", "false"))),
    ("nir", lambda r: f"0.{digits(r, 6)}"),
    ("token_type", lambda r: r.choice(("bearer", "basic"))),
    ("card_type", lambda r: r.choice(("debit", "credit"))),
    ("name", lambda r: " ".join(r.choices(("Sturdy", "Coffee", "Grinder"), k=2))),
    ("file_name", lambda r: f"report{r.randrange(99)}.pdf"),
    ("product_name", lambda r: r.choice(("Folding Desk", "Oak Desk"))),
    ("wallet_address", lambda r: "0x" + r.randbytes(20).hex()),
    ("body", lambda r: "Works as it should. " + r.choice(("Dear customer, thank you.", "Best, and again.", "Version 4.1 is out."))),
)


def column(name: str, make: Make, table: str = "things", family: Family = Family.TEXT) -> Sampled:
    r = random.Random(f"{name}{family}")  # noqa: S311 the same each time
    return Sampled(table, name, family, tuple(make(r) for _ in range(ROWS)))


@pytest.mark.parametrize(
    ("tag", "make", "scheme"), FOUND, ids=[f"{tag} {scheme} {place}" for place, (tag, _, scheme) in enumerate(FOUND)]
)
def test_values_tell_what_the_name_does_not(tag: str, make: Make, scheme: str):
    [evidence] = detect(column("c1", make))

    assert (evidence.tag, evidence.scheme, evidence.named, evidence.within) == (tag, scheme, False, False)
    assert 0.95 * ROWS <= evidence.matched <= evidence.sampled == ROWS


@pytest.mark.parametrize(("tag", "make"), WITHIN, ids=[tag for tag, _ in WITHIN])
@pytest.mark.parametrize("family", [Family.TEXT, Family.DOCUMENT])
def test_a_few_within_texts_are_found(tag: str, make: Make, family: Family):
    [evidence] = detect(column("c1", sentence(make), family=family))

    assert (evidence.tag, evidence.within, evidence.named) == (tag, True, False)
    assert 0.03 * ROWS < evidence.matched < 0.2 * ROWS


@pytest.mark.parametrize(("name", "make"), RESEMBLING, ids=[name for name, _ in RESEMBLING])
def test_nothing_is_proposed_for_what_only_resembles(name: str, make: Make):
    assert [str(evidence) for evidence in detect(column(name, make))] == []


def test_numbers_are_not_taken_for_identities():
    """Ten in a hundred pass Luhn, nine the eleven test."""
    for size in (9, 10, 11, 13, 15, 16, 18):
        make = partial(digits, count=size, first="123456789")
        assert detect(column(f"n{size}", make, family=Family.NUMBER)) == ()


@pytest.mark.parametrize(
    ("table", "name", "family", "tag"),
    [
        ("t", "customerEMail", Family.TEXT, "pii:email"),
        ("t", "Email Address", Family.TEXT, "pii:email"),
        ("t", "phone_number_2", Family.TEXT, "pii:phone"),
        ("t", "msisdn", Family.NUMBER, "pii:phone"),
        ("t", "card_last4", Family.TEXT, "pii:card"),
        ("t", "passport_no", Family.TEXT, "pii:national_id"),
        ("t", "DateOfBirth", Family.TIME, "pii:birth_date"),
        ("t", "geburtsdatum", Family.TIME, "pii:birth_date"),
        ("t", "address_line1", Family.TEXT, "pii:address"),
        ("t", "billing_address", Family.TEXT, "pii:address"),
        ("t", "zipCode", Family.TEXT, "pii:address"),
        ("t", "last_name", Family.TEXT, "pii:name"),
        ("customers", "name", Family.TEXT, "pii:name"),
        ("t", "last_login_ip", Family.NETWORK, "pii:ip"),
        ("t", "base_salary", Family.NUMBER, "secret"),
        ("t", "passwordHash", Family.TEXT, "secret"),
        ("t", "stripe_api_key", Family.TEXT, "secret"),
        ("t", "session_token", Family.BYTES, "secret"),
    ],
)
def test_names_tell_where_there_is_no_value(table: str, name: str, family: Family, tag: str):
    assert [evidence.tag for evidence in detect(Sampled(table, name, family))] == [tag]


@pytest.mark.parametrize(
    ("table", "name", "family"),
    [
        ("t", "email_verified", Family.OTHER),
        ("t", "email_id", Family.NUMBER),
        ("t", "address_id", Family.NUMBER),
        ("t", "phone_count", Family.NUMBER),
        ("t", "token_count", Family.NUMBER),
        ("t", "password_changed_at", Family.TIME),
        ("t", "birth_date_checked", Family.TEXT),
        ("t", "salary_band_id", Family.NUMBER),
        ("t", "primary_key", Family.TEXT),
        ("products", "name", Family.TEXT),
        ("user_roles", "name", Family.TEXT),
        ("t", "hostname", Family.TEXT),
        ("t", "description", Family.TEXT),
        ("t", "shipping", Family.TEXT),
        ("t", "zipped", Family.TEXT),
        ("t", "telemetry", Family.TEXT),
    ],
)
def test_names_of_other_things_tell_nothing(table: str, name: str, family: Family):
    assert detect(Sampled(table, name, family)) == ()


def test_a_hostile_name_is_read_in_no_time():
    """One that could be taken apart in 2^50 ways ends."""
    for word in ("email", "phone_", "secret_", "name_"):
        assert detect(Sampled("t", word + "1" * 50 + "x", Family.TEXT)) == ()
        assert detect(Sampled("t", word * 8 + "_1" * 20 + "é", Family.TEXT)) == ()


@given(value=st.text(max_size=60) | st.from_regex(SHAPES, fullmatch=True), family=st.sampled_from(Family))
def test_no_value_ends_it_and_none_comes_out(value: str, family: Family):
    """Of any script, and of the shapes that the tests of values let through to the libraries."""
    for name in ("c", "email", "phone", "iban", "ssn", "card_number", "token", "full_name", "address"):
        told = " ".join(map(str, detect(Sampled("customers", name, family, (value,) * 8))))
        assert len(value) < 6 or value not in told


def test_a_few_lucky_values_say_nothing():
    """Four that pass are four; five different ones that all pass are evidence."""
    r = random.Random(1)  # noqa: S311 likewise
    ids = tuple(bsn(r) for _ in range(5))
    assert detect(Sampled("t", "n", Family.TEXT, ids[:4] * 100)) == ()
    assert [str(evidence) for evidence in detect(Sampled("t", "n", Family.TEXT, ids))] == ["national_id (Dutch BSN): 5 of 5 values"]


def test_a_column_can_need_two_tags():
    found = detect(column("notes", lambda r: f"Write to {email(r)} or pay to {iban(r)}"))
    assert [str(evidence) for evidence in found] == ["email: within 200 of 200 values", "iban: within 200 of 200 values"]


@pytest.mark.parametrize(
    "value", ["", " ", "\0", "@", "a@" * 200, "(" * 400, "+" * 400, "1" * 400, "٣" * 16, "²" * 12, "-" * 400, "ß" * 400]
)
def test_any_value_can_be_looked_at(value: str):
    for family in Family:
        assert detect(Sampled("t", "c", family, (value,) * 10)) == (), family


@pytest.mark.parametrize(
    ("name", "told"),
    [("customerEMail", "customer_email"), ("IBAN", "iban"), ("HTTPServerIP", "http_server_ip"), ("a  b-c", "a_b_c")],
)
def test_names_are_read_alike(name: str, told: str):
    assert snake(name).replace("e_mail", "email") == told
