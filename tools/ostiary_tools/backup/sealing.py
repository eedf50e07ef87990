"""Signatures of this installation over what a repository says: manifests, evidence, the repository's own description.

A signature proves who wrote the bytes. Which public key is this installation's is not asked of the repository, where whoever swaps
it would answer, but pinned where the installation keeps its state.
"""

import os
import secrets
from base64 import b64decode, b64encode
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_IMODE

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ostiary_tools.errors import Damaged, Unavailable

_CONTEXT = b"ostiary backup 1\n"
"""Before all that is signed, so that no signature made for something else holds here."""


@dataclass(frozen=True, slots=True)
class Seal:
    """A public key, which tells what was signed."""

    key: str
    """Base64 of its 32 bytes."""

    def check(self, what: str, data: bytes, signature: bytes) -> None:
        """Raises Damaged, naming `what`, unless the key signed the data as `what`."""
        try:
            public = Ed25519PublicKey.from_public_bytes(b64decode(self.key, validate=True))
            public.verify(b64decode(signature, validate=True), _signed(what, data))
        except (InvalidSignature, ValueError):
            hint = "it was altered or comes from another installation; do not restore from it"
            raise Damaged(what, "the signature does not hold", hint) from None


@dataclass(frozen=True, slots=True)
class Signer:
    """The private key."""

    key: Ed25519PrivateKey

    @property
    def seal(self) -> Seal:
        """What others check with."""
        return Seal(b64encode(self.key.public_key().public_bytes_raw()).decode())

    def sign(self, what: str, data: bytes) -> bytes:
        """A signature in base64. `what` is where the data lies, so that what is signed for one place holds in no other."""
        return b64encode(self.key.sign(_signed(what, data)))


def load_signer(path: Path) -> Signer:
    """The key in that file, which is made when there is none. Raises Unavailable where it is not ours alone, or no key."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_secret(path, b64encode(Ed25519PrivateKey.generate().private_bytes_raw()).decode())
    text = read_secret(path)
    try:
        return Signer(Ed25519PrivateKey.from_private_bytes(b64decode(text.strip(), validate=True)))
    except ValueError:
        raise Unavailable(f"the key `{path.name}` is not a key", "put back the one that was there") from None


def write_secret(path: Path, text: str) -> None:
    """Make the file with mode 0600, whole or not at all; of two that make it at once one wins, and nothing is overwritten."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w", encoding="ascii") as file:
            file.write(f"{text}\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
        _sync(path.parent)


def pin(path: Path, repository: str) -> None:
    """Remember which repository is this installation's, in the place of an earlier one."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    write_secret(draft, repository)
    draft.replace(path)
    _sync(path.parent)


def pinned(path: Path) -> str | None:
    """The id of the repository that is this installation's; `None` where none was remembered. Raises Unavailable."""
    return read_secret(path).strip() if path.exists() else None


def read_secret(path: Path) -> str:
    """What only this user can read. Raises Unavailable, without the path: agents are told it, too."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), encoding="ascii") as file:
            about = os.fstat(file.fileno())
            if S_IMODE(about.st_mode) & 0o077 or about.st_uid != os.geteuid():
                raise Unavailable(f"the key `{path.name}` can be read by others", "make it this user's own, with mode 0600")
            return file.read()
    except (OSError, ValueError):
        raise Unavailable(f"the key `{path.name}` cannot be read", "look whether it is there, and whose it is") from None


def _sync(folder: Path) -> None:
    """Make names in it durable."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _signed(what: str, data: bytes) -> bytes:
    return _CONTEXT + what.encode() + b"\n" + data
