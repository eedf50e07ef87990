"""The arguments of `manage_collection`: one form for all actions, held to what each of them takes."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from ostiary_tools.api import Args, CollectionName, Redacted, Refused

Action = Literal["list", "describe", "create", "build", "tune", "check", "report", "move", "drop"]

_LAYOUT = frozenset({"index", "element", "m", "ef_construction", "lists"})
_TAKES: Mapping[str, frozenset[str]] = {
    "list": frozenset(),
    "describe": frozenset({"name"}),
    "create": _LAYOUT | {"name", "store", "embedder", "dimension", "metric", "tags", "source"},
    "build": _LAYOUT | {"name", "job"},
    "tune": frozenset({"name", "recall", "job"}),
    "check": frozenset({"name", "job"}),
    "report": frozenset({"name", "report", "score", "count"}),
    "move": frozenset({"name", "store", "job"}),
    "drop": frozenset({"name"}),
}


class GivenSource(BaseModel):
    """The rows it holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sql: Annotated[str, Field(description="One SELECT.")]
    key: Annotated[str, Field(description="Column that names a row.")]
    template: Annotated[str, Field(description="`{title}: {body}`")]
    metadata: Annotated[tuple[str, ...], Field(description="Columns to filter by.")] = ()
    follows: Annotated[str, Field(description="`every N s` or `notify CHANNEL`")] = ""
    datasource: str = ""


class ManageCollectionArgs(Args):
    """Arguments of `manage_collection`."""

    action: Action
    name: Annotated[str, CollectionName(), Field(max_length=63)] = ""
    store: Annotated[str, Field(description="For create and move.")] = ""
    embedder: str = ""
    dimension: Annotated[int, Field(description="Of vectors that you bring.")] = 0
    metric: Literal["cosine", "l2", "inner_product"] = "cosine"
    index: Literal["", "exact", "hnsw", "ivfflat"] = ""
    element: Literal["", "vector", "halfvec", "bit"] = ""
    m: int = 0
    ef_construction: int = 0
    lists: int = 0
    tags: tuple[str, ...] = ()
    source: Annotated[GivenSource | SkipJsonSchema[None], Redacted()] = None
    recall: Annotated[float, Field(ge=0.5, le=1, description="For tune.")] = 0.95
    report: Literal["", "duplicates", "clusters", "outliers"] = ""
    score: Annotated[float, Field(description="Least of duplicates.")] = 0.95
    count: Annotated[int, Field(ge=1, le=100, description="For report.")] = 10
    job: Annotated[bool, Field(description="In the background.")] = False


def fitting(args: ManageCollectionArgs) -> None:
    """Raises Refused for an argument that the action does not take, and for one that it needs."""
    takes = _TAKES[args.action]
    if other := sorted(args.model_fields_set - takes - {"action"}):
        raise Refused("arguments", f"`{args.action}` takes no `{other[0]}`", _hint(args.action, takes))
    needs = {"name", "store" if args.action == "move" else "report" if args.action == "report" else "name"}
    if missing := sorted(one for one in needs & takes if not getattr(args, one)):
        raise Refused("arguments", f"`{args.action}` needs `{missing[0]}`", _hint(args.action, takes))


def _hint(action: str, takes: frozenset[str]) -> str:
    return f"{action} takes {', '.join(f'`{one}`' for one in sorted(takes)) or 'nothing else'}"
