"""Signed checkpoints: what a stream's tree was at a size, in the text of C2SP tlog-checkpoint.

    ostiary/<installation>/<stream>        origin
    1000                                   records
    <base64>                               RFC 6962 root
    chain <base64>                         hash of the last record
    time 2026-11-21T04:12:50Z

    — ostiary <base64 of key id and ed25519 signature>

The origin `ostiary/<installation>/streams` is the roster: one line `stream <number> <size> <root>` for every stream.
Keys are in the text forms of golang.org/x/mod/sumdb/note.
"""

import os
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from stat import S_IMODE

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ostiary.audit.merkle import Peaks, leaf_hash

KEY_NAME = "ostiary"
_ED25519 = b"\x01"


class KeyUnusable(Exception):
    """The signing key cannot be read, or others can read it."""


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs notes with one ed25519 key."""

    key: Ed25519PrivateKey

    @property
    def public(self) -> bytes:
        """The raw public key, 32 bytes."""
        return self.key.public_key().public_bytes_raw()

    @property
    def key_id(self) -> bytes:
        """Four bytes that name the key in a signature line."""
        return sha256(f"{KEY_NAME}\n".encode() + _ED25519 + self.public).digest()[:4]

    def sign(self, text: str) -> str:
        """The signed note over `text`, which ends in a newline."""
        signature = b64encode(self.key_id + self.key.sign(text.encode())).decode()
        return f"{text}\n— {KEY_NAME} {signature}\n"

    def signed(self, note: str) -> bool:
        """Whether this key signed the note."""
        text, _, signatures = note.rpartition("\n\n")
        for line in signatures.splitlines():
            with suppress(ValueError, InvalidSignature):
                raw = b64decode(line.rsplit(" ", 1)[-1], validate=True)
                if raw[:4] == self.key_id:
                    self.key.public_key().verify(raw[4:], f"{text}\n".encode())
                    return True
        return False

    def verifier_key(self) -> str:
        """The public key as a line of text: name, key id, key."""
        return f"{KEY_NAME}+{self.key_id.hex()}+{b64encode(_ED25519 + self.public).decode()}"


def load_signer(private: Path, public: Path) -> Signer:
    """The installation's key, made at the first start: `private` with mode 0600, and `public` beside it for everybody.

    Raises KeyUnusable when the file is not ours alone or not a key.
    """
    if not private.exists():
        _make_key(private)
    about = private.stat()
    if S_IMODE(about.st_mode) & 0o077 or about.st_uid != os.geteuid():
        raise KeyUnusable(f"the signing key `{private}` must belong to this user with mode 0600")
    try:
        seed = b64decode(private.read_text("ascii").strip().split("+", 4)[-1], validate=True)
        signer = Signer(Ed25519PrivateKey.from_private_bytes(seed[1:]))
    except (ValueError, OSError) as error:
        raise KeyUnusable(f"the signing key `{private}` is not a key") from error
    if not public.exists():
        _write_new(public, signer.verifier_key() + "\n", 0o644)
    return signer


def checkpoint_text(origin: str, peaks: Peaks, last_hash: bytes, *more: str) -> str:
    """The text to sign for a stream."""
    lines = (origin, str(peaks.size), b64encode(peaks.root()).decode(), f"chain {b64encode(last_hash).decode()}", _time(), *more)
    return "".join(f"{line}\n" for line in lines)


def roster_text(installation: object, sizes: Mapping[int, tuple[int, str]]) -> str:
    """The text to sign over all streams, each with its size and root in base64; the root is over these lines."""
    entries = [f"stream {stream} {size} {root}" for stream, (size, root) in sorted(sizes.items())]
    peaks = Peaks()
    for entry in entries:
        peaks.add(leaf_hash(entry.encode()))
    lines = (f"ostiary/{installation}/streams", str(len(entries)), b64encode(peaks.root()).decode(), *entries, _time())
    return "".join(f"{line}\n" for line in lines)


def size_and_root(note: str) -> tuple[int, str]:
    """Size and base64 root of a note of ours. Raises ValueError."""
    _, size, root, _ = note.split("\n", 3)
    return int(size), root


def _make_key(private: Path) -> None:
    key = Ed25519PrivateKey.generate()
    signer = Signer(key)
    secret = b64encode(_ED25519 + key.private_bytes_raw()).decode()
    private.parent.mkdir(parents=True, exist_ok=True)
    _write_new(private, f"PRIVATE+KEY+{KEY_NAME}+{signer.key_id.hex()}+{secret}\n", 0o600)


def _write_new(path: Path, text: str, mode: int) -> None:
    """Make the file whole or not at all; of two processes that start together one wins and both read the winner's."""
    draft = path.with_name(f".{path.name}.{token_hex(4)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="ascii") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _time() -> str:
    return f"time {datetime.now(UTC).strftime('%Y-%m-%dT%H:%M:%SZ')}"


def roots(notes: Iterable[str]) -> dict[str, tuple[int, str]]:
    """The largest size and its root for every origin among the notes; what is no note is passed over."""
    newest: dict[str, tuple[int, str]] = {}
    for note in notes:
        with suppress(ValueError):
            size, root = size_and_root(note)
            name = note.split("\n", 1)[0]
            if size >= newest.get(name, (0, ""))[0]:
                newest[name] = (size, root)
    return newest
