"""What of a collection is looked for, as Chroma is asked and as what it finds is looked at."""

from dataclasses import dataclass

from ostiary_tools.vectors.admission import admit_filter, storable
from ostiary_tools.vectors.chroma.records import Kept
from ostiary_tools.vectors.chroma.where import MOST_VALUES, Where, both, where
from ostiary_tools.vectors.filters import Filter
from ostiary_tools.vectors.holding import holds
from ostiary_tools.vectors.port import Candidate, Reach

_CONDITIONS = 50
"""What Chroma is asked at most; whether more of them hold is for us alone to say."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Chunks of some documents, or of all, that fulfil a filter."""

    condition: Filter | None = None
    keys: frozenset[str] | None = None
    where: Where = True
    """All of them, and maybe more."""

    @property
    def all(self) -> bool:
        """No chunk is left out."""
        return self.condition is None and self.keys is None

    def met_by(self, what: Kept | Candidate | None) -> bool:
        """Whether it is one."""
        if what is None or (self.keys is not None and what.key not in self.keys):
            return False
        return self.condition is None or holds(self.condition, what.metadata)


def wanted(reach: Reach) -> Wanted:
    """By what a search asks for. Raises Refused for a filter that none could be."""
    few = reach.condition is not None and admit_filter(reach.condition) <= _CONDITIONS
    condition = where(reach.condition) if few and reach.condition else True
    if reach.keys is None:
        return Wanted(reach.condition, None, condition)
    keys = list(dict.fromkeys(storable(reach.keys)))
    of_keys: Where = bool(keys) and (len(keys) > MOST_VALUES or {"key": {"$in": keys}})
    return Wanted(reach.condition, frozenset(keys), both([of_keys, condition]))
