"""What is backed up, as configured, and with which login."""

from collections.abc import Iterator

from ostiary.config import Config
from ostiary.config.combinations import CONTROL
from ostiary.sources import SAMPLE
from ostiary_tools.backup.manifest import Kind
from ostiary_tools.backup.port import Source
from ostiary_tools.embedded import Cluster, names

_POSTGRES = (Kind.LOGICAL, Kind.FULL, Kind.INCREMENTAL)
"""The usual kind first."""


def backed_up(config: Config, cluster: Cluster | None) -> tuple[Source, ...]:
    """Each datasource with each of its kinds. What has no login for backups is not among them."""
    databases = (Source(name, kind, dsn, restore_dsn=new) for name, dsn, new in _logins(config, cluster) for kind in _POSTGRES)
    files = (Source(name, Kind.SQLITE, path=file.path) for name, file in config.sqlite.items())
    return (*databases, *files)


def _logins(config: Config, cluster: Cluster | None) -> Iterator[tuple[str, str, str]]:
    """With the login that restores."""
    if not config.datasources and cluster is not None:
        yield SAMPLE, cluster.dsn(names.ADMIN, names.SHOP), cluster.dsn(names.RESTORER, names.SHOP)
    for name, source in config.datasources.items():
        if source.backup_dsn is not None:
            dsn = source.backup_dsn.get_secret_value()
            yield name, dsn, dsn
    if config.control.backup_dsn is not None:
        dsn = config.control.backup_dsn.get_secret_value()
        yield CONTROL, dsn, dsn
    elif config.control.dsn is None and cluster is not None:
        yield CONTROL, cluster.dsn(names.ADMIN, names.CONTROL), cluster.dsn(names.RESTORER, names.CONTROL)
