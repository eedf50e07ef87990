"""What a collection is in its database: two tables and a list of words, named by its id and never by its name."""

from dataclasses import dataclass
from uuid import UUID

from ostiary_tools.vectors.collection import Collection, Element, IndexKind, Layout, Metric

SCHEMA = "ostiary_vectors"
LARGEST_DIMENSION = 16_000
INDEXED_DIMENSION = {Element.VECTOR: 2_000, Element.HALFVEC: 4_000, Element.BIT: LARGEST_DIMENSION}
"""What an index takes."""

# What was written last is looked through by every search until it is merged: less of it than the default.
_TABLES = """
create table {documents} (
    key text collate "C" primary key,
    digest text not null,
    chunks integer not null
);
create table {chunks} (
    key text collate "C" not null,
    number integer not null,
    text text not null,
    metadata jsonb not null,
    embedding vector({dimension}) not null,
    words tsvector not null generated always as (to_tsvector('pg_catalog.simple', text)) stored,
    primary key (key, number)
);
create index on {chunks} using gin (words) with (gin_pending_list_limit = 512);
create index on {chunks} using gin (metadata jsonb_path_ops) with (gin_pending_list_limit = 512);
create table {words} (word text collate "C" primary key);
"""
_LIKE_WORDS = "create index on {words} using gin (word gin_trgm_ops)"
_INDEX = {
    IndexKind.HNSW: "create index {concurrently} {index} on {chunks} using hnsw ({indexed} {class}) "
    "with (m = {m}, ef_construction = {ef_construction})",
    IndexKind.IVFFLAT: "create index {concurrently} {index} on {chunks} using ivfflat ({indexed} {class}) with (lists = {lists})",
}
_INDEXED = {
    Element.VECTOR: "{side}",
    Element.HALFVEC: "({side}::halfvec({dimension}))",
    Element.BIT: "(binary_quantize({side})::bit({dimension}))",
}
_OPERATORS = {Metric.COSINE: "<=>", Metric.L2: "<->", Metric.INNER_PRODUCT: "<#>"}
_CLASSES = {Metric.COSINE: "cosine", Metric.L2: "l2", Metric.INNER_PRODUCT: "ip"}


@dataclass(frozen=True, slots=True)
class Relations:
    """The statements of one collection. What they are composed of is its id and numbers of ours, and no text of anybody."""

    id: UUID
    dimension: int
    metric: Metric

    def fill(self, template: str, **parts: str) -> str:
        """A template of ours with the names of the tables."""
        names = {name: f"{SCHEMA}.{letter}_{self.id.hex}" for name, letter in (("documents", "d"), ("chunks", "c"), ("words", "w"))}
        return template.format(**names, **parts)

    def tables(self, *, like_words: bool) -> str:
        """Make them."""
        return self.fill(_TABLES + (_LIKE_WORDS if like_words else ""), dimension=str(int(self.dimension)))

    @property
    def chunks(self) -> str:
        """The table of chunks, without its schema."""
        return f"c_{self.id.hex}"

    def index_name(self, number: int) -> str:
        """Without its schema; later ones have larger numbers."""
        return f"x_{self.id.hex}_{number}"

    def index(self, layout: Layout, number: int, *, lists: int, concurrently: bool) -> str:
        """Make an index of that layout."""
        parts = {
            "index": self.index_name(number),
            "concurrently": "concurrently" if concurrently else "",
            "indexed": self._indexed(layout.element, "embedding"),
            "class": self._class(layout.element),
            "m": str(int(layout.m)),
            "ef_construction": str(int(layout.ef_construction)),
            "lists": str(int(lists)),
        }
        return self.fill(_INDEX[layout.index], **parts)

    def distance(self) -> str:
        """Of the chunk `c` to `$1`, by the whole vectors."""
        return f"(c.embedding {_OPERATORS[self.metric]} $1::vector)"

    def indexed_distance(self, element: Element) -> str:
        """As an index of that element orders by it."""
        operator = "<~>" if element is Element.BIT else _OPERATORS[self.metric]
        return f"{self._indexed(element, 'c.embedding')} {operator} {self._indexed(element, '$1::vector')}"

    def _indexed(self, element: Element, side: str) -> str:
        return _INDEXED[element].format(side=side, dimension=int(self.dimension))

    def _class(self, element: Element) -> str:
        return "bit_hamming_ops" if element is Element.BIT else f"{element}_{_CLASSES[self.metric]}_ops"


def relations(collection: Collection) -> Relations:
    """Those of a collection."""
    return Relations(collection.id, collection.embedding.dimension, collection.embedding.metric)


def score(metric: Metric, distance: float) -> float:
    """More is nearer."""
    if metric is Metric.COSINE:
        return min(1.0, max(-1.0, 1.0 - distance))
    return -distance if metric is Metric.INNER_PRODUCT else 1.0 / (1.0 + distance)
