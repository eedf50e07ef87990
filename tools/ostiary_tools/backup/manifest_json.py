"""A manifest as the bytes that are signed, and back: what is not exactly a manifest of our format is refused."""

import re
from datetime import timedelta

from ostiary_tools.backup import strict_json
from ostiary_tools.backup.manifest import FORMAT, Kind, Manifest, Member

ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}", re.ASCII)
MEMBER = re.compile(r"[a-z][a-z0-9-]{0,40}(\.[a-z]{1,10})?\.zst\.age", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_LARGEST = 1 << 60
_NAME = "manifest.json"


def encode(manifest: Manifest) -> bytes:
    """As it is kept."""
    return strict_json.encode(manifest, FORMAT)


def decode(data: bytes) -> Manifest:
    """Raises Damaged."""
    manifest = strict_json.decode(_NAME, data, Manifest, FORMAT)
    names = [member.name for member in manifest.members]
    times = (manifest.started_at, manifest.ended_at)
    sound = (
        ID.fullmatch(manifest.id)
        and (manifest.kind is Kind.INCREMENTAL) == (manifest.parent is not None)
        and (manifest.parent is None or ID.fullmatch(manifest.parent))
        and all(map(_sound, manifest.members))
        and len(set(names)) == len(names)
        and all(time.utcoffset() == timedelta(0) for time in times)
    )
    if not sound:
        raise strict_json.none_of_ours(_NAME)
    return manifest


def _sound(member: Member) -> bool:
    """What types do not say."""
    sums, sizes = (member.plain_sha256, member.stored_sha256), (member.plain_bytes, member.stored_bytes)
    return (
        MEMBER.fullmatch(member.name) is not None
        and all(map(_SHA256.fullmatch, sums))
        and all(0 <= size <= _LARGEST for size in sizes)
    )
