"""Whether the log was put back: what was signed for outside of it says more than is here, and no epoch says so.

Only what this installation signed is evidence: who may write to the anchor file, or to the database, can neither have calls
refused by a note of his own nor make one that covers what he took away.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from ostiary.audit.notes import BEGINNING, STREAMS, Epoch, Keys, Note, Unreadable, parse_epoch, parse_note
from ostiary_tools.control.connect import JournalError

RULE = "audit_put_back"
COMMAND = "ostiary audit open-epoch"
_AT_ONCE = 1_000
"""Claims kept before the largest is looked for."""


class PutBack(JournalError):
    """The log ends before what is known of it, and nobody has decided yet that it goes on."""


@dataclass(frozen=True, slots=True)
class Claim:
    """So many records of a stream were signed for."""

    stream: int
    size: int
    root: bytes
    note: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What says that the log was put back."""

    claims: Mapping[int, Claim] = field(default_factory=dict)
    """Of each stream that ends too early, the one that says most."""
    begun: Mapping[int, str] = field(default_factory=dict)
    """Notes of epochs that are not here, by number."""

    def __bool__(self) -> bool:
        return bool(self.claims or self.begun)

    @property
    def notes(self) -> tuple[str, ...]:
        """All of it."""
        return tuple({*(claim.note for claim in self.claims.values()), *self.begun.values()})

    def words(self, here: Mapping[int, int]) -> str:
        """The first of it, for people."""
        said = [
            f"stream {s} ends at {here.get(s, 0)}, and {claim.size} records were signed for" for s, claim in self.claims.items()
        ]
        said += [f"epoch {number} was opened, or begun, and is not here" for number in self.begun]
        more = f", and {len(said) - 1} more" if len(said) > 1 else ""
        return f"it was put back to an earlier moment (rule {RULE}): {said[0]}{more}; a person decides by `{COMMAND}`"


def newest_epoch(notes: Iterable[str], keys: Keys, installation: object) -> Epoch:
    """The epoch that the log is in. Raises PutBack for one that this installation did not sign."""
    newest = BEGINNING
    for text in notes:
        try:
            epoch, note = parse_epoch(text)
        except Unreadable as error:
            raise PutBack(f"an epoch of it cannot be read (rule {RULE}): {error}") from error
        if not keys.signed(note) or note.origin != f"ostiary/{installation}/epochs":
            raise PutBack(f"epoch {epoch.number} of it was not signed by this installation (rule {RULE})")
        newest = max(newest, epoch, key=lambda one: one.number)
    return newest


def evidence(notes: Iterable[str], keys: Keys, installation: object, here: Mapping[int, int], epoch: Epoch) -> Evidence:
    """What of the notes says more than `here`, the streams' ends, and is not what the epoch names as lost."""
    found: dict[int, _Claims] = {}
    begun: dict[int, str] = {}
    for text, note in _of(notes, installation, lambda stream, size: _more(stream, size, here, epoch)):
        if note.opens:
            if note.size > epoch.number and keys.signed(note):
                begun[note.size] = text
            continue
        with suppress(Unreadable):
            for stream, size, root in note.named:
                if _more(stream, size, here, epoch):
                    found.setdefault(stream, _Claims(stream, keys)).add(size, root, note, text)
    claims = {stream: claim for stream in sorted(found) if (claim := found[stream].most()) is not None}
    return Evidence(claims, begun)


def _more(stream: int, size: int, here: Mapping[int, int], epoch: Epoch) -> bool:
    if stream < epoch.first:
        return not epoch.covers(stream, size)
    return size > here.get(stream, 0) or stream >= epoch.first + STREAMS


@dataclass(slots=True)
class _Claims:
    """Of one stream: one for each second of a month, perhaps. Few signatures are looked at, and nothing forged hides a true one."""

    stream: int
    keys: Keys
    sizes: dict[int, tuple[bytes, Note, str]] = field(default_factory=dict)
    believed: Claim | None = None

    def add(self, size: int, root: bytes, note: Note, text: str) -> None:
        """Another one."""
        if self.believed is not None and size <= self.believed.size:
            return
        if size not in self.sizes or not self.keys.signed(self.sizes[size][1]):
            self.sizes[size] = (root, note, text)
        if len(self.sizes) >= _AT_ONCE:
            self.most()

    def most(self) -> Claim | None:
        """The largest that was signed."""
        for size in sorted(self.sizes, reverse=True):
            root, note, text = self.sizes[size]
            if self.keys.signed(note):
                self.believed = Claim(self.stream, size, root, text)
                break
        self.sizes.clear()
        return self.believed


def _of(notes: Iterable[str], installation: object, more: Callable[[int, int], bool]) -> Iterator[tuple[str, Note]]:
    """Those of this installation; of the many that say nothing new only two lines are read."""
    mine = f"ostiary/{installation}/"
    for text in notes:
        if text.startswith(mine):
            number, size, *_ = [*text[len(mine) :].split("\n", 2), ""]
            with suppress(ValueError):
                if not number.isdecimal() or more(int(number), int(size)):
                    yield text, parse_note(text)


def next_number(epoch: Epoch, here: Iterable[int], known: Evidence) -> int:
    """Of a new epoch: one that none has or had."""
    streams: Sequence[int] = (*here, *known.claims)
    return max((epoch.number, *known.begun, *(stream // STREAMS for stream in streams))) + 1
