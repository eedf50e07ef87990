"""Objects of a bucket that speaks S3, each whole or not there: put, got, listed and deleted, with bounded patience. Blocking.

A request whose answer was lost is made again, and may then meet what it has done itself: each write carries a number of its own,
by which that is told from the write of another. What the store does not answer within bounds is StoreAway, never damage.
"""

import re
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

from ostiary_tools.errors import Refused, StoreAway, Unavailable

if TYPE_CHECKING:
    from obstore.store import S3Config, S3Store

T = TypeVar("T")
Data: TypeAlias = bytes | memoryview
"""Not to be changed before it has arrived."""

_WRITE = "ostiary-write"
"""The object's own metadata that holds the number of its write."""
_NO_BUCKET = "<Code>NoSuchBucket</Code>"
_BATCH = 1000
_LONGEST_PAUSE_S = 5.0


@dataclass(frozen=True, slots=True)
class Address:
    """Which bucket, and where in it. What is empty is taken from the environment, as programs for S3 do."""

    bucket: str
    prefix: str = ""
    endpoint: str = ""
    region: str = ""
    access_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)

    @property
    def url(self) -> str:
        """As people write it."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")


@dataclass(slots=True)
class Allowance:
    """What a store may take up in vain, over all requests of one look; after that it is asked nothing more."""

    left_s: float


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a store is waited for. As it stands here: by who makes or restores, for whom hours of work are at stake."""

    request_s: float = 60
    """For one request, with all its bytes."""
    tries: int = 6
    whole_s: float = 90
    """From the first of them; after it no other is begun."""
    pause_s: float = 0.2
    """After the first; then twice as long each time."""
    allowance: Allowance | None = None
    """Without one there is no bound but those of each request."""

    @property
    def over(self) -> bool:
        """Whether nothing more is to be asked."""
        return self.allowance is not None and self.allowance.left_s <= 0

    def lost(self, seconds: float) -> None:
        """A request took so long, and came to nothing."""
        if self.allowance is not None:
            self.allowance.left_s -= seconds


MAKING = Patience()
KEEPING = Patience(request_s=15, tries=2, whole_s=15)
"""Of who keeps a log: he comes again each second anyway, and meanwhile is to say what is wrong."""


def looking() -> Patience:
    """Of who only looks, for one look: a person or a client waits for it, and some seconds tell whether a store is there.

    A request of a look is some kilobytes, and answered within a tenth of a second. Five seconds stand for a bad line, eight in all
    for one that stalls twice; beyond that to say that it is away helps more than to go on.
    """
    return Patience(request_s=5, tries=2, whole_s=5, allowance=Allowance(8))


@dataclass(frozen=True, slots=True)
class Found:
    """An object as it was at one moment."""

    data: Data
    """All of it, or nothing where it has more than was asked for."""
    size: int
    etag: str
    modified: datetime
    """By the store's clock."""


class Changed(Exception):
    """An object is another one than was expected, or is there though none was."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """A part of a bucket."""

    address: Address
    store: "S3Store" = field(repr=False)
    patience: Patience = Patience()

    def get(self, key: str, most: int) -> Found:
        """An object whole, unless it has more than so many bytes: who may write there is not to fill our memory.

        Raises FileNotFoundError and Unavailable.
        """
        import obstore  # an extra

        def got() -> Found:
            answer = obstore.get(self.store, key)
            size = answer.meta["size"]
            data = memoryview(answer.bytes()) if size <= most else b""
            return Found(data, size, answer.meta["e_tag"] or "", answer.meta["last_modified"])

        return self._tried(got, key)

    def put(self, key: str, data: Data) -> str:
        """Write it over whatever is there. Gives its tag. Raises Unavailable."""
        return self._put(key, data, "overwrite")

    def create(self, key: str, data: Data) -> str:
        """Likewise where nothing is. Raises Changed where something is, and Unavailable."""
        return self._put(key, data, "create")

    def replace(self, key: str, data: Data, etag: str) -> str:
        """Likewise over what has that tag. Raises Changed where it has another or is gone, and Unavailable."""
        return self._put(key, data, {"e_tag": etag})

    def check_conditions(self, key: str) -> None:
        """Raises Refused where the store takes a conditional write for any write: then nothing would keep two processes apart."""
        self.put(key, b"")
        acts: tuple[Callable[[], str], ...] = (lambda: self.create(key, b""), lambda: self.replace(key, b"", f'"{"0" * 32}"'))
        for act in acts:
            try:
                act()
            except Changed:
                continue
            hint = "use a store that does, or a folder"
            raise Refused("store", "the object store does not keep to `If-None-Match` and `If-Match` when it writes", hint)

    def below(self, prefix: str) -> tuple[Sequence[str], Sequence[str]]:
        """Names of the objects right below, and of what has others below it. Raises Unavailable."""
        import obstore

        answer = self._tried(lambda: obstore.list_with_delimiter(self.store, prefix or None), prefix)
        objects = [one["path"].rpartition("/")[2] for one in answer["objects"]]
        return objects, [one.rpartition("/")[2] for one in answer["common_prefixes"]]

    def delete(self, *keys: str) -> None:
        """Take them away; what is not there is no error. Raises Unavailable."""
        import obstore

        for start in range(0, len(keys), _BATCH):
            some = list(keys[start : start + _BATCH])
            self._tried(lambda some=some: obstore.delete(self.store, some), "")  # type: ignore[misc] # no type of a default

    def empty(self, prefix: str) -> None:
        """Take away all below a prefix. Raises Unavailable."""
        more = True
        while more:
            keys = self._tried(lambda: list(self._some(prefix)), prefix)
            self.delete(*keys)
            more = len(keys) == _BATCH

    def _some(self, prefix: str) -> Iterator[str]:
        import obstore

        for page in obstore.list(self.store, prefix, chunk_size=_BATCH):
            yield from (one["path"] for one in page)
            return

    def _put(self, key: str, data: Data, mode: Any) -> str:
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        number = secrets.token_hex(8)

        def put() -> str:
            try:
                made = obstore.put(self.store, key, data, attributes={_WRITE: number}, mode=mode, use_multipart=False)
            except (AlreadyExistsError, PreconditionError):
                return ""
            return made["e_tag"] or ""

        try:
            return self._tried(put, key) or self._tried(lambda: self._by_ourselves(key, number), key)
        except FileNotFoundError:
            raise Changed(key) from None

    def _by_ourselves(self, key: str, number: str) -> str:
        """The tag of what is there if that write made it, whose answer was lost. Raises Changed."""
        import obstore

        answer = obstore.get(self.store, key)
        if answer.attributes.get(_WRITE) != number:
            raise Changed(key)
        return answer.meta["e_tag"] or ""

    def _tried(self, act: Callable[[], T], key: str) -> T:
        from obstore.exceptions import BaseError

        began, pause, status = time.monotonic(), self.patience.pause_s, ""
        for left in range(self.patience.tries - 1, -1, -1):
            if self.patience.over:
                break
            asked = time.monotonic()
            try:
                return act()
            except (BaseError, OSError) as error:
                self._say(error, key)
                self.patience.lost(time.monotonic() - asked)
                status = _status(error)
                if not left or time.monotonic() - began + pause > self.patience.whole_s:
                    break
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)
        why = f"it says {status}" if status else "it is not reached, or not in time"
        hint = "see that it runs and is reached from here; what was begun is taken away by itself"
        raise StoreAway(f"the object store of `{self.address.url}` does not answer as it should: {why}", hint)

    def _say(self, error: Exception, key: str) -> None:
        """Raise what to ask again would not change."""
        from obstore.exceptions import InvalidPathError, NotFoundError

        if _NO_BUCKET in str(error):
            hint = "make it, or mend `backup.repository`; Ostiary makes no buckets"
            raise Unavailable(f"there is no bucket `{self.address.bucket}`", hint) from None
        if isinstance(error, InvalidPathError):  # the library lists nothing beside it
            hint = "look with another program who put it there, and take it away: it is none of ours"
            where = f"{self.address.url}/{key}".rstrip("/")
            raise Unavailable(
                f"an object right below `{where}` has a name with an empty step, a `.` or a `..` in it", hint
            ) from None
        if isinstance(error, (NotFoundError, FileNotFoundError)):
            raise FileNotFoundError(key) from None
        if _status(error) in ("401", "403"):
            hint = "see that the access key is right, and may read, write, list and delete there"
            raise Unavailable(f"the object store lets nobody with these credentials into `{self.address.url}`", hint) from None


def _status(error: Exception) -> str:
    """What the store answered, if it did. The library says it in words alone, and differently by what was asked."""
    found = re.search(r"status code: (\d{3})\b", str(error))
    return found[1] if found else ""


def open_bucket(address: Address, patience: Patience = Patience()) -> Bucket:
    """Nothing is asked of it yet. Raises Unavailable without the extra."""
    try:
        from obstore.exceptions import BaseError
        from obstore.store import S3Store
    except ImportError:
        raise Unavailable("repositories in object storage are not installed", "install `ostiary[s3]`") from None
    given = {
        "endpoint": address.endpoint,
        "region": address.region,
        "access_key_id": address.access_key,
        "secret_access_key": address.secret_key,
        "session_token": address.session_token,
    }
    try:
        store = S3Store(
            address.bucket,
            prefix=address.prefix or None,
            # The store compares what came with what was sent.
            config=cast("S3Config", {"checksum_algorithm": "SHA256", **{name: value for name, value in given.items() if value}}),
            client_options={
                # Configuration allows it on this machine alone.
                **({"allow_http": True} if address.endpoint.startswith("http://") else {}),
                "timeout": timedelta(seconds=patience.request_s),
                "connect_timeout": timedelta(seconds=min(patience.request_s, 10)),
            },
            retry_config={"max_retries": 0},  # each request is made again here, where what it did can be told
        )
    except BaseError:
        raise Unavailable("the address of the object store is none", "see `backup.repository`, `endpoint` and `region`") from None
    return Bucket(address, store, patience)
