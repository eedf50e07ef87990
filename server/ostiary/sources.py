"""The datasources of the configuration, as their driver takes them; the embedded sample where there is none."""

from ostiary.config import Config
from ostiary_tools.datasources.postgres import PostgresSettings
from ostiary_tools.embedded import Cluster, names
from ostiary_tools.powers import Power

SAMPLE = "shop"
"""Name of the sample datasource, served when none is configured."""


def sources(config: Config, cluster: Cluster | None) -> list[PostgresSettings]:
    """Each with its login, bounds and tags."""
    if not config.datasources and cluster is not None:
        return [PostgresSettings(SAMPLE, cluster.dsn(names.AGENT, names.SHOP))]
    return [
        PostgresSettings(
            name=name,
            dsn=source.dsn.get_secret_value(),
            replica_dsn=source.replica_dsn.get_secret_value() if source.replica_dsn is not None else None,
            pool_min=source.pool_min,
            pool_max=source.pool_max,
            acquire_timeout_s=source.acquire_timeout_s,
            max_lifetime_s=source.max_lifetime_s,
            set_role=source.set_role,
            search_path=source.search_path,
            lock_timeout_s=source.lock_timeout_s,
            idle_timeout_s=source.idle_timeout_s,
            snapshot_ttl_s=source.snapshot_ttl_s,
            accepted_powers=frozenset(map(Power, source.accepted_powers)),
            secret_values=config.policy.mask_key is not None,
            tags={target: frozenset(tags) for target, tags in source.tags.items()},
        )
        for name, source in config.datasources.items()
    ]
