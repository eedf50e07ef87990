"""Keys that backups are encrypted to: the operational one of this installation, and the recovery key that lies elsewhere.

Both are age X25519 keys. Only public ones are needed to make a backup. That the recovery key exists and works is not believed but
proven: it once decrypted a probe that nothing else could.
"""

import secrets
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib import import_module
from types import ModuleType
from typing import Any

from ostiary_tools.errors import Damaged, Unavailable


class NoKey(Unavailable):
    """What is to be decrypted is encrypted to none of the keys that are here."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A private key; its text is never shown."""

    recipient: str
    """Its public part, `age1…`."""
    text: str
    """`AGE-SECRET-KEY-1…`."""

    def __repr__(self) -> str:
        return f"Identity({self.recipient})"


@dataclass(frozen=True, slots=True)
class Probe:
    """What only the recovery key can read, and how to know that it was read."""

    sealed: str
    """Base64 of an age file for the recovery key alone."""
    sha256: str
    """Of what is in it."""


def new_identity() -> Identity:
    """A new key."""
    made = age().x25519.Identity.generate()
    return Identity(str(made.to_public()), str(made))


def read_identities(text: str) -> tuple[Identity, ...]:
    """The keys of a file as age-keygen writes it. Raises Unavailable; the message has nothing of the text."""
    lines = [line for line in map(str.strip, text.splitlines()) if line and not line.startswith("#")]
    found = tuple(map(_identity, lines))
    if not found:
        raise Unavailable("there is no key in it", "a key is a line that begins with `AGE-SECRET-KEY-1`")
    return found


def parsed_recipient(text: str) -> str:
    """A public key in its one form. Raises Unavailable."""
    module = age()
    try:
        return str(module.x25519.Recipient.from_str(text.strip()))
    except module.RecipientError:
        raise Unavailable("this is no public key of age", "it begins with `age1`; age-keygen -y prints it") from None


def make_probe(recipient: str) -> Probe:
    """A new one for the recovery key."""
    answer = secrets.token_bytes(32)
    sealed = age().encrypt(answer, parsed_recipients((recipient,)))
    return Probe(b64encode(sealed).decode(), sha256(answer).hexdigest())


def proves(probe: Probe, identities: Sequence[Identity]) -> bool:
    """Whether one of the keys reads the probe. Raises Damaged where it is none."""
    module = age()
    try:
        answer = module.decrypt(b64decode(probe.sealed, validate=True), parsed_identities(identities))
    except module.DecryptError as error:
        if _is_other_key(error):
            return False
        raise Damaged("repository.json", "the probe of the recovery key cannot be read", "the repository was altered") from None
    except ValueError:
        raise Damaged("repository.json", "the probe of the recovery key cannot be read", "the repository was altered") from None
    return answers(probe, answer)


def answers(probe: Probe, answer: bytes) -> bool:
    """Whether that is what is in it."""
    return secrets.compare_digest(sha256(answer).hexdigest(), probe.sha256)


def parsed_recipients(recipients: Sequence[str]) -> list[Any]:
    """As pyrage takes them."""
    return [age().x25519.Recipient.from_str(text) for text in recipients]


def parsed_identities(identities: Sequence[Identity]) -> list[Any]:
    """As pyrage takes them."""
    return [age().x25519.Identity.from_str(identity.text) for identity in identities]


def age() -> ModuleType:
    """The module, which comes with an extra. Raises Unavailable."""
    try:
        return import_module("pyrage")
    except ImportError:
        raise Unavailable("backups are not installed", "install `ostiary[backup]`") from None


def _identity(line: str) -> Identity:
    module = age()
    try:
        made = module.x25519.Identity.from_str(line)
    except module.IdentityError:
        raise Unavailable("this is no key of age", "it begins with `AGE-SECRET-KEY-1`") from None
    return Identity(str(made.to_public()), str(made))


def _is_other_key(error: Exception) -> bool:
    return "No matching keys" in str(error)
