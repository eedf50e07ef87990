"""`ostiary vectors …`: make folders and rows searchable by their meaning, search them, and see that what is found is right.

Every command is a call of the tools that agents have, through the gate: policy decides it and it is recorded.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

from ostiary.cli_options import ConfigOption, JsonOption, RoleOption, configured, print_json, say
from ostiary.exits import CommandFailed, Exit

if TYPE_CHECKING:
    from ostiary.local_calls import LocalCalls

T = TypeVar("T")

app = typer.Typer(help="Search by meaning: collections of texts, their indexes and their recall.", no_args_is_help=True)

_TOOL = "manage_collection"
Name = Annotated[str, typer.Argument(metavar="COLLECTION", help="Its name: small letters, digits and `_`.")]
Index = Annotated[Literal["exact", "hnsw", "ivfflat"] | None, typer.Option("--index", help="How the nearest are found.")]
Element = Annotated[Literal["vector", "halfvec", "bit"] | None, typer.Option("--element", help="What the index holds of a vector.")]
M = Annotated[int | None, typer.Option("--m", help="Of hnsw: neighbours in each layer.")]
EfConstruction = Annotated[int | None, typer.Option("--ef-construction", help="Of hnsw: candidates while it is built.")]
Lists = Annotated[int | None, typer.Option("--lists", help="Of ivfflat: how many.")]
Store = Annotated[str | None, typer.Option("--store", help="Of the configuration; else the first.")]


@app.command("list", epilog="Example: ostiary vectors list --json")
def list_(*, role: RoleOption = None, config: ConfigOption = None, json_: JsonOption = False) -> None:
    """List the collections that the role knows."""
    text = _called(config, role, {"action": "list"})
    _print_table(text, json_=json_, none="there is no collection; make one with `ostiary vectors index`")


@app.command(epilog="Example: ostiary vectors show notes")
def show(name: Name, *, role: RoleOption = None, config: ConfigOption = None, json_: JsonOption = False) -> None:
    """Say what a collection is made of, how it lies, and what its recall is."""
    _print_lines(_called(config, role, {"action": "describe", "name": name}), json_=json_)


@app.command(
    epilog="Example: ostiary vectors create products --sql 'select id, name, about from products' --key id --template '{name}'"
)
def create(
    name: Name,
    *,
    store: Store = None,
    embedder: Annotated[str | None, typer.Option("--embedder", help="Of the configuration; else the first.")] = None,
    dimension: Annotated[
        int | None, typer.Option("--dimension", min=1, help="Instead of an embedder: of vectors you bring.")
    ] = None,
    metric: Annotated[Literal["cosine", "l2", "inner_product"] | None, typer.Option("--metric", help="How near is near.")] = None,
    index_kind: Index = None,
    element: Element = None,
    m: M = None,
    ef_construction: EfConstruction = None,
    lists: Lists = None,
    tag: Annotated[list[str] | None, typer.Option("--tag", help="For policies; may be repeated.")] = None,
    sql: Annotated[str | None, typer.Option("--sql", help="One SELECT: the rows that it holds.")] = None,
    key: Annotated[str | None, typer.Option("--key", help="Of these, the column that names a row.")] = None,
    template: Annotated[str | None, typer.Option("--template", help="The text of a row, as `{title}: {body}`.")] = None,
    metadata: Annotated[list[str] | None, typer.Option("--metadata", help="A column to filter by; may be repeated.")] = None,
    follows: Annotated[str | None, typer.Option("--follows", help="`every N s` or `notify CHANNEL`.")] = None,
    datasource: Annotated[str | None, typer.Option("--datasource", help="Needed when there are several.")] = None,
    role: RoleOption = None,
    config: ConfigOption = None,
    json_: JsonOption = False,
) -> None:
    """Create an empty collection, of documents or of rows."""
    rows = _given(sql=sql, key=key, template=template, metadata=metadata, follows=follows, datasource=datasource)
    if rows and not {"sql", "key", "template"} <= rows.keys():
        raise CommandFailed("rows need `--sql`, `--key` and `--template`", "give all three, or none", Exit.USAGE)
    layout = _given(index=index_kind, element=element, m=m, ef_construction=ef_construction, lists=lists)
    made = _given(store=store, embedder=embedder, dimension=dimension, metric=metric, tags=tag, source=rows)
    _print_done(_called(config, role, {"action": "create", "name": name, **layout, **made}), json_=json_)


@app.command(epilog="Example: ostiary vectors index notes ./docs")
def index(
    name: Name,
    paths: Annotated[list[Path] | None, typer.Argument(metavar="[PATH]…", help="Folders and files; none for rows.")] = None,
    *,
    role: RoleOption = None,
    config: ConfigOption = None,
    json_: JsonOption = False,
) -> None:
    """Put files into a collection, or bring one of rows up to date; one that is not there is created.

    Files that did not change cost nothing. Hidden ones, links and what is no text are left out. What has gone from a folder since
    it was last indexed from this machine is taken out.
    """
    from ostiary.file_indexing import indexed, refreshed

    if not paths:
        _print_done(_run(config, role, lambda calls: refreshed(name, calls)), json_=json_)
        return
    told = _run(config, role, lambda calls: indexed(name, tuple(paths), calls))
    if json_:
        print_json(told.data())
    else:
        typer.echo(told.text())


@app.command(epilog="Example: ostiary vectors search notes 'how is a change undone?'")
def search(
    name: Name,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to find, in words.")],
    *,
    k: Annotated[int, typer.Option("--k", min=1, max=100, help="Hits.")] = 5,
    mode: Annotated[str | None, typer.Option("--mode", help="`vector`, `text` or `hybrid`.")] = None,
    role: RoleOption = None,
    config: ConfigOption = None,
    json_: JsonOption = False,
) -> None:
    """Find passages by their meaning or their words."""
    arguments = {"collection": name, "text": text, "k": k, **_given(mode=mode)}
    reply = _run(config, role, lambda calls: calls("search", arguments))
    _print_hits(reply, json_=json_)


@app.command(epilog="Example: ostiary vectors build notes --index hnsw --m 32 --ef-construction 200")
def build(
    name: Name,
    *,
    index_kind: Index = None,
    element: Element = None,
    m: M = None,
    ef_construction: EfConstruction = None,
    lists: Lists = None,
    role: RoleOption = None,
    config: ConfigOption = None,
    json_: JsonOption = False,
) -> None:
    """Build the index anew, as it was or otherwise, while the collection is searched and written to."""
    layout = _given(index=index_kind, element=element, m=m, ef_construction=ef_construction, lists=lists)
    _print_done(_called(config, role, {"action": "build", "name": name, **layout}), json_=json_)


@app.command(epilog="Example: ostiary vectors tune notes --recall 0.95")
def tune(
    name: Name,
    *,
    recall: Annotated[
        float, typer.Option("--recall", min=0.5, max=1, help="To be reached: the share of the nearest found.")
    ] = 0.95,
    role: RoleOption = None,
    config: ConfigOption = None,
    json_: JsonOption = False,
) -> None:
    """Find the least effort that reaches a recall, and keep it. The exit code is 1 when none does."""
    _held(_called(config, role, {"action": "tune", "name": name, "recall": recall}), json_=json_)


@app.command(epilog="Example: ostiary vectors check notes")
def check(name: Name, *, role: RoleOption = None, config: ConfigOption = None, json_: JsonOption = False) -> None:
    """Measure the recall again. The exit code is 1 when it fell below what the collection was tuned for."""
    _held(_called(config, role, {"action": "check", "name": name}), json_=json_)


@app.command(epilog="Example: ostiary vectors report notes duplicates --score 0.98")
def report(
    name: Name,
    what: Annotated[Literal["duplicates", "clusters", "outliers"], typer.Argument(metavar="duplicates|clusters|outliers")],
    *,
    score: Annotated[float | None, typer.Option("--score", help="Duplicates are at least so near.")] = None,
    count: Annotated[int | None, typer.Option("--count", min=1, max=100, help="How many are shown.")] = None,
    role: RoleOption = None,
    config: ConfigOption = None,
    json_: JsonOption = False,
) -> None:
    """Show near-duplicates, clusters with labels, or outliers, of a sample where the collection is large."""
    arguments = {"action": "report", "name": name, "report": what, **_given(score=score, count=count)}
    _print_done(_called(config, role, arguments), json_=json_)


@app.command(epilog="Example: ostiary vectors move notes --to archive")
def move(
    name: Name,
    *,
    to: Annotated[str, typer.Option("--to", help="The store that it is to lie in.")],
    role: RoleOption = None,
    config: ConfigOption = None,
    json_: JsonOption = False,
) -> None:
    """Copy a collection to another store, have it lie there, and take it away where it lay."""
    _print_done(_called(config, role, {"action": "move", "name": name, "store": to}), json_=json_)


@app.command(epilog="Example: ostiary vectors drop notes --yes")
def drop(
    name: Name,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    role: RoleOption = None,
    config: ConfigOption = None,
    json_: JsonOption = False,
) -> None:
    """Take a collection away with all that is in it."""
    _print_done(_called(config, role, {"action": "drop", "name": name}, agreed=yes), json_=json_)


def _print_table(text: str, *, json_: bool, none: str) -> None:
    from ostiary.local_calls import table_of

    rows, _ = table_of(text)
    if json_:
        print_json(rows)
        return
    for row in rows:
        typer.echo("  ".join(f"{value}" if name == "name" else f"{name} {value}" for name, value in row.items() if value))
    if not rows:
        say(none)


def _print_hits(text: str, *, json_: bool) -> None:
    from ostiary.local_calls import table_of

    rows, closing = table_of(text)
    if json_:
        print_json(rows)
        return
    for row in rows:
        typer.echo(f"{row.pop('score')}  {row.pop('id')}\n    {row.pop('snippet')}")
    say(closing)


def _print_lines(text: str, *, json_: bool) -> None:
    if not json_:
        typer.echo(text)
        return
    told: dict[str, Any] = {"warnings": []}
    for line in text.splitlines():
        name, _, value = line.partition(": ")
        if name == "warning":
            told["warnings"].append(value)
        else:
            told[name.replace(" ", "_")] = value
    print_json(told)


def _print_done(text: str, *, json_: bool) -> None:
    """What came of it; for machines its first line, and the others."""
    if json_:
        message, *lines = text.splitlines()
        print_json({"message": message, "lines": lines})
    else:
        typer.echo(text)


def _held(text: str, *, json_: bool) -> None:
    """What was measured; a warning is a check that did not hold."""
    _print_lines(text, json_=json_)
    if any(line.startswith("warning: ") for line in text.splitlines()):
        raise typer.Exit(Exit.FAILED)


def _given(**options: Any) -> dict[str, Any]:
    """Those that were given."""
    return {name: value for name, value in options.items() if value not in (None, [], {})}


def _called(config: Path | None, role: str | None, arguments: Mapping[str, Any], *, agreed: bool = False) -> str:
    from ostiary.bar import barred

    async def call(calls: "LocalCalls") -> str:
        with barred() as tell:
            return await calls(_TOOL, arguments, tell)

    return _run(config, role, call, agreed=agreed)


def _run(config: Path | None, role: str | None, act: "Callable[[LocalCalls], Awaitable[T]]", *, agreed: bool = False) -> T:
    """What the act gives, in a house that is open meanwhile."""
    loaded = configured(config)
    from ostiary.local_calls import local_calls

    async def acted() -> T:
        async with local_calls(loaded, role, agreed=agreed) as calls:
            return await act(calls)

    return asyncio.run(acted())
