"""What is small is sealed and opened in this process: to start the program of `streams` for it costs more than all the work.

The result is the same. What is not small after compression goes through `streams`: to encrypt it would hold up everything else.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import BinaryIO

from ostiary_tools.backup import streams
from ostiary_tools.backup.keys import Identity, age, parsed_identities, parsed_recipients
from ostiary_tools.backup.manifest import Member
from ostiary_tools.errors import Damaged

LARGEST = 2 << 20
"""Bytes that are encrypted at once at most: some milliseconds, in which nothing else of this process goes on."""
_MORE = 64 << 10
"""What age adds to them at most."""


def sealed(data: bytes, recipients: Sequence[str]) -> bytes | None:
    """As it is to be stored; `None` where it is not small. Raises Unavailable."""
    packed = bytes(streams.zstd().ZstdCompressor(level=streams.LEVEL, write_checksum=True).compress(data))
    if len(packed) > LARGEST:
        return None
    return bytes(age().encrypt(packed, parsed_recipients(recipients)))


def is_small(member: Member) -> bool:
    """Whether it can be opened here."""
    return member.stored_bytes <= LARGEST + _MORE


def opened(member: Member, stored: BinaryIO, identities: Sequence[Identity]) -> bytes:
    """Its bytes, compared with what was put. Closes `stored`. Raises Damaged, and Unavailable."""
    with stored:
        try:
            found = stored.read(member.stored_bytes + 1)
        except OSError:
            raise _damaged(member, "it cannot be read") from None
    if (len(found), sha256(found).hexdigest()) != (member.stored_bytes, member.stored_sha256):
        raise _damaged(member, "it is not the file that was stored")
    plain = _unpacked(member, _decrypted(member, found, identities))
    if (len(plain), sha256(plain).hexdigest()) != (member.plain_bytes, member.plain_sha256):
        raise _damaged(member, "its content is not what was put into it")
    return plain


def _decrypted(member: Member, found: bytes, identities: Sequence[Identity]) -> bytes:
    try:
        return bytes(age().decrypt(found, parsed_identities(identities)))
    except (age().DecryptError, ValueError, OSError):
        raise _damaged(member, "it cannot be decrypted to its end") from None


def _unpacked(member: Member, packed: bytes) -> bytes:
    """No more than was put into it: what is made to unpack to more would fill our memory."""
    reader = streams.zstd().ZstdDecompressor(max_window_size=streams.WINDOW).stream_reader(packed)
    try:
        return bytes(reader.read(member.plain_bytes + 1))
    except streams.zstd().ZstdError:
        raise _damaged(member, "it cannot be decompressed") from None


def _damaged(member: Member, why: str) -> Damaged:
    return Damaged(member.name, f"`{member.name}` is damaged: {why}", "use another backup")
