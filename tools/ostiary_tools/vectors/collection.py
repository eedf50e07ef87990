"""What a collection is: how its texts became vectors, where they lie, and the rows they stand for."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from uuid import UUID

from ostiary_policies import model
from ostiary_policies.model import Principal

_CLOSED = timedelta(minutes=15)
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


def is_name(text: str) -> bool:
    """Whether a collection may be called so."""
    return _NAME.fullmatch(text) is not None


class Metric(StrEnum):
    """How near two vectors are. Scores are told so that more is nearer, whatever the metric."""

    COSINE = "cosine"
    """Score `1 - distance`, from -1 to 1."""
    L2 = "l2"
    """Score `1 / (1 + distance)`, from 0 to 1."""
    INNER_PRODUCT = "inner_product"
    """Score the product itself."""


class IndexKind(StrEnum):
    """How the nearest are found."""

    EXACT = "exact"
    """Every vector is compared."""
    HNSW = "hnsw"
    IVFFLAT = "ivfflat"


class Element(StrEnum):
    """What the index holds of a vector; what is stored keeps four bytes a dimension, so that another index loses nothing."""

    VECTOR = "vector"
    HALFVEC = "halfvec"
    BIT = "bit"
    """One bit a dimension; what is found so is ranked anew by the whole vectors."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How the vectors lie in their store. Defaults are pgvector's own."""

    index: IndexKind = IndexKind.HNSW
    element: Element = Element.VECTOR
    m: int = 16
    """Of HNSW: neighbours in each layer, from 2 to 100."""
    ef_construction: int = 64
    """Of HNSW: candidates while it is built, from 4 to 1000 and at least `2 * m`."""
    lists: int = 0
    """Of IVFFlat: from 1 to 32768; 0 has it chosen by the number of rows when it is built."""


@dataclass(frozen=True, slots=True)
class Embedding:
    """How texts become its vectors. What is asked by another one is refused."""

    embedder: str
    """Name of the configured embedder; empty where its callers bring vectors."""
    model: str
    """As the embedder states it, with whatever changes its vectors."""
    dimension: int
    normalised: bool
    """Every vector has length 1."""
    metric: Metric = Metric.COSINE


@dataclass(frozen=True, slots=True)
class Source:
    """The rows whose texts a collection holds. A hit is shown from its row as the caller sees it, or is none."""

    datasource: str
    statement: str
    """A SELECT as it was judged, printed with every name qualified; its columns are named and differ."""
    key: str
    """The column that names a row; as text it is the key of the document."""
    template: str
    """The document's text: `{column}` stands for the column's value as text, `{{` for a brace."""
    metadata: tuple[str, ...] = ()
    """Columns that are kept beside the text, to filter by and to be shown."""
    follows: str = ""
    """How it keeps up: empty, `every N s`, or `notify CHANNEL`."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """What was chosen for a recall, and measured. Recall is that at 10: the share of the ten truly nearest that are found."""

    target: float
    recall: float
    """As measured with these numbers, against exact search."""
    ef_search: int = 0
    """Of HNSW; 0 is the store's own."""
    probes: int = 0
    """Of IVFFlat; likewise."""
    overfetch: int = 1
    """How many times as many are fetched as are asked for, before they are ranked by the whole vectors."""
    chunks: int = 0
    """How many there were then."""
    questions: int = 0
    """How many were asked to measure it."""
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Collection:
    """A collection as it was created, and as it was tuned since."""

    id: UUID
    """What its store knows it by: a name that is used again is another collection."""
    name: str
    """`[a-z][a-z0-9_]{0,62}`, unique in the installation."""
    store: str
    embedding: Embedding
    layout: Layout = Layout()
    source: Source | None = None
    tuning: Tuning | None = None
    tags: tuple[str, ...] = ()
    """For policies; sorted."""
    owner: Principal | None = None
    """Who created it, and on whose behalf it follows its source."""
    created_at: datetime | None = None
    moving: datetime | None = None
    """Since when it takes nothing in: what another store holds of it is compared for the last time, or taken away there."""
    left: str = ""
    """The store that it lay in before it was moved, as long as that may hold something of it."""

    @property
    def closed(self) -> bool:
        """It takes nothing in now. One that is closed for long was left so by who died over its move."""
        return self.moving is not None and datetime.now(UTC) - self.moving < _CLOSED

    @property
    def resource(self) -> model.Collection:
        """What policies know it by."""
        return model.Collection(self.name, self.store, self.source.datasource if self.source else "", frozenset(self.tags))
