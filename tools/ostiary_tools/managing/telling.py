"""A collection in words, for those who may know it."""

from collections.abc import Iterable

from ostiary_policies.actions import Action
from ostiary_tools.api import ColumnHead, KnownCollection, Rows, World
from ostiary_tools.identifiers import one_line
from ostiary_tools.vectors.collection import Collection, IndexKind, Layout, Source, Tuning
from ostiary_tools.vectors.recall import told, warnings

_COLUMNS = ("name", "store", "embedder", "dimension", "index", "holds", "tags", "you_may")


def listing(world: World) -> Rows:
    """All that the caller knows."""
    known = sorted(world.holdings.collections.items()) if world.holdings else []
    outside = sorted(world.holdings.outsiders) if world.holdings else []
    rows = (*(_row(one, world) for _, one in known), *map(_outside, outside))
    return Rows(tuple(ColumnHead(name, "text") for name in _COLUMNS), rows)


def _outside(name: str) -> tuple[str | None, ...]:
    return (name, None, None, None, None, "nothing that is used: describe it", None, None)


def _row(known: KnownCollection, world: World) -> tuple[str | None, ...]:
    one = known.collection
    return (
        one.name,
        one.store,
        one.embedding.embedder or None,
        str(one.embedding.dimension),
        one.layout.index.value,
        _of(one, world),
        " ".join(one.tags) or None,
        " ".join(may(known)),
    )


def _of(one: Collection, world: World) -> str:
    """What it holds; of a datasource that the caller does not know nothing is told."""
    if one.source is None:
        return "documents"
    return f"rows of {one.source.datasource}" if one.source.datasource in world.views else "rows"


def may(known: KnownCollection) -> list[str]:
    """What the caller may do with it."""
    return [action.value for action in (Action.SEARCH, Action.INDEX, Action.MANAGE, Action.DROP) if action in known.may]


def description(known: KnownCollection, chunks: int | None, *, reads: bool, problem: str = "") -> str:
    """In a few lines. Of what rows it is made is told to those who may manage it and have all columns of them."""
    one = known.collection
    manages = Action.MANAGE in known.may
    lines = (
        _head(one, chunks),
        _embedded(one),
        f"layout: {layout_told(one.layout)}",
        f"recall: {tuning_told(one.tuning, sized=manages or one.source is None)}"
        if one.layout.index is not IndexKind.EXACT or one.tuning
        else "",
        *(_source(one.source) if one.source and manages and reads else ()),
        f"tags: {', '.join(one.tags)}" if one.tags else "",
        _made(one) if manages else "",
        f"you may: {', '.join(may(known))}",
        *(f"warning: {words}" for words in (problem, *_warnings(known, chunks)) if words),
    )
    return "\n".join(filter(None, lines))


def created(one: Collection) -> str:
    """Of a new one."""
    return f"created `{one.name}` in the store `{one.store}`\n{_embedded(one)}\nlayout: {layout_told(one.layout)}"


def layout_told(layout: Layout) -> str:
    """In words."""
    numbers = {
        IndexKind.EXACT: "",
        IndexKind.HNSW: f", m {layout.m}, ef_construction {layout.ef_construction}",
        IndexKind.IVFFLAT: f", {f'lists {layout.lists}' if layout.lists else 'lists by the number of rows'}",
    }
    return f"{layout.index} over {layout.element}{numbers[layout.index]}"


def tuning_told(tuning: Tuning | None, *, sized: bool = True) -> str:
    """In words. Of how many chunks it was measured tells of rows, also of those that a caller has not."""
    if tuning is None:
        return "not measured; tune it"
    when = f", {tuning.at:%Y-%m-%d}" if tuning.at else ""
    effort = told(tuning)
    size = f", on {tuning.questions:,} questions of {tuning.chunks:,} chunks" if sized else ""
    measured = f"{tuning.recall:.3f} at 10{size}{when}"
    return f"{measured}; tuned for {tuning.target:g}{f' by {effort}' if effort else ''}"


def _head(one: Collection, chunks: int | None) -> str:
    size = f", {chunks:,} chunks" if chunks is not None else ""
    of = " of rows" if one.source else " of documents"
    return f"collection: {one.name},{of} in the store `{one.store}`{size}"


def _embedded(one: Collection) -> str:
    how = one.embedding
    by = f"`{how.embedder}`, model {one_line(how.model)}" if how.embedder else "its callers, who bring vectors"
    return f"embedded by: {by}; {how.dimension} dimensions{', normalised' if how.normalised else ''}, {how.metric}"


def _source(source: Source) -> Iterable[str]:
    yield f"source: in `{source.datasource}`, {one_line(source.statement, 2000)}"
    metadata = f"; metadata {', '.join(map(one_line, source.metadata))}" if source.metadata else ""
    yield f"rows: key {one_line(source.key)}; text {one_line(source.template, 500)}{metadata}"
    yield f"follows: {one_line(source.follows) or 'nothing; index it anew'}"


def _made(one: Collection) -> str:
    by = f" by {one_line(one.owner.agent)}" if one.owner else ""
    return f"created: {one.created_at:%Y-%m-%d}{by}" if one.created_at else ""


def _warnings(known: KnownCollection, chunks: int | None) -> Iterable[str]:
    one = known.collection
    if one.moving is not None:
        yield "it is being moved to another store and takes nothing in meanwhile"
    if known.capabilities is None:
        yield "its store is not configured any more, so it cannot be reached"
    if one.embedding.embedder and known.embedder is None:
        yield "its embedder is not configured any more or has another model; create another collection and index it anew"
    for words in warnings(one.tuning, chunks) if one.tuning else ():
        yield f"{words}; tune it again"
