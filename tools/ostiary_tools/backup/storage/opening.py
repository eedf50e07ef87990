"""A repository's storage by where it is: a folder, or a bucket as `s3://bucket/prefix`."""

import re
from pathlib import Path

from ostiary_tools.backup.port import Storage
from ostiary_tools.backup.storage.bucket import MAKING, Address, Patience, open_bucket
from ostiary_tools.backup.storage.folder import Folder
from ostiary_tools.backup.storage.objects import Objects

SCHEME = "s3://"
_URL = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])((?:/[A-Za-z0-9][A-Za-z0-9._-]{0,127})*)/?", re.ASCII)


def address(url: str) -> Address:
    """Where it says. Raises ValueError with words for what it must be."""
    found = _URL.fullmatch(url)
    if found is None:
        raise ValueError("must be `s3://bucket` or `s3://bucket/prefix`, of letters, digits, `.`, `_` and `-`")
    return Address(found[1], found[2].removeprefix("/"))


def open_storage(place: Path | Address, patience: Patience = MAKING, *, carried: bool = False) -> Storage:
    """Nothing is asked of it yet. What was `carried` here is read and never written. Raises Unavailable without an extra."""
    return Folder(place, carried) if isinstance(place, Path) else Objects(open_bucket(place, patience), carried)
