"""The stores of vectors of the configuration, as `open_stores` takes them; the embedded one where there is none."""

from ostiary.config import Config
from ostiary.config.vectors import Store
from ostiary_tools.embedded import Cluster, names
from ostiary_tools.vectors.opening import can_open
from ostiary_tools.vectors.settings import ChromaSettings, PgvectorSettings, StoreSettings

LOCAL = "local"
"""Name of the store in the embedded PostgreSQL, open when none is configured."""


def stores(config: Config, cluster: Cluster | None) -> list[StoreSettings]:
    """The default first. None where nothing is configured and there is no embedded PostgreSQL, or the extra is not installed."""
    if not config.vectors:
        if cluster is None or not can_open(PgvectorSettings):
            return []
        return [PgvectorSettings(LOCAL, cluster.dsn(names.KEEPER, names.VECTORS))]
    return [_store(name, store) for name, store in config.vectors.items()]


def _store(name: str, store: Store) -> StoreSettings:
    if store.kind == "chroma":
        key = store.key.get_secret_value() if store.key is not None else None
        return ChromaSettings(name, store.path, store.url, key, store.timeout_s)
    dsn = store.dsn.get_secret_value() if store.dsn is not None else ""
    return PgvectorSettings(name, dsn, pool_max=store.pool_max, timeout_s=store.timeout_s, build_memory_mb=store.build_memory_mb)
