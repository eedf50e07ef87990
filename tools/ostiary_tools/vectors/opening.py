"""The stores that are configured, opened: nothing is connected before it is first asked."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.util import find_spec

from ostiary_tools.errors import Refused
from ostiary_tools.vectors.port import VectorStore
from ostiary_tools.vectors.settings import ChromaSettings, PgvectorSettings, StoreSettings

_NEEDS = {PgvectorSettings: ("vector", ("numpy", "pgvector")), ChromaSettings: ("chroma", ("numpy", "chromadb"))}
"""The extra of each, and what it installs."""


def can_open(kind: type[StoreSettings]) -> bool:
    """Whether what such a store needs is installed."""
    return all(find_spec(module) is not None for module in _NEEDS[kind][1])


@asynccontextmanager
async def open_stores(settings: Sequence[StoreSettings]) -> AsyncIterator[Mapping[str, VectorStore]]:
    """The stores by name, in their order, closed again after the block.

    One that cannot be reached says so when it is asked, and the others go on. Raises Refused where an extra is missing.
    """
    async with AsyncExitStack() as stack:
        stores: dict[str, VectorStore] = {}
        for one in settings:
            stores[one.name] = store = _opened(one)
            stack.push_async_callback(store.close)
        yield stores


def _opened(settings: StoreSettings) -> VectorStore:
    if not can_open(type(settings)):
        extra, _ = _NEEDS[type(settings)]
        raise Refused(
            "extra", f"the store `{settings.name}` needs what is not installed here", f"run `pip install 'ostiary[{extra}]'`"
        )
    if isinstance(settings, PgvectorSettings):
        from ostiary_tools.vectors.pgvector.store import PgvectorStore  # an extra, and heavy

        return PgvectorStore(settings)
    from ostiary_tools.vectors.chroma.store import ChromaStore  # likewise

    return ChromaStore(settings)
