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
        writer_dsn = cluster.dsn(names.CHANGER, names.SHOP)
        migrations_dsn = cluster.dsn(names.ADMIN, names.SHOP)
        return [
            PostgresSettings(SAMPLE, cluster.dsn(names.AGENT, names.SHOP), writer_dsn=writer_dsn, migrations_dsn=migrations_dsn)
        ]
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
            writer_dsn=source.writer_dsn.get_secret_value() if source.writer_dsn is not None else None,
            writer_powers=frozenset(map(Power, source.writer_powers)),
            writer_changes=source.writer_changes,
            migrations_dsn=source.migrations_dsn.get_secret_value() if source.migrations_dsn is not None else None,
            secret_values=config.policy.mask_key is not None,
            tags={target: frozenset(tags) for target, tags in source.tags.items()},
        )
        for name, source in config.datasources.items()
    ]


def look_s(config: Config) -> float:
    """How often somebody's subscription has the schemas looked at: as often as the one that ages fastest."""
    return min((source.snapshot_ttl_s for source in config.datasources.values()), default=PostgresSettings("", "").snapshot_ttl_s)
