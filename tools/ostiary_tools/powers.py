"""What a database login could do besides reading, as a closed vocabulary, and what was found of it.

Values only: how they are found is for `datasources`, what follows from them for the
server's configuration and `ostiary doctor`.
"""

from dataclasses import dataclass
from enum import StrEnum


class Power(StrEnum):
    """Worst first. The value is the word of `accepted_powers` and of the doctor."""

    SUPERUSER = "superuser"
    SERVER_PROGRAMS = "server_programs"
    SERVER_FILES = "server_files"
    BYPASS_RLS = "bypass_rls"
    CREATE_ROLE = "create_role"
    REPLICATION = "replication"
    WRITE_ALL_DATA = "write_all_data"
    READ_ALL_DATA = "read_all_data"
    OWNER = "owner"
    SECURITY_DEFINER = "security_definer"
    OTHER_SERVERS = "other_servers"
    RESTRICTED_OBJECTS = "restricted_objects"
    UNTRUSTED_FUNCTIONS = "untrusted_functions"
    SERVER_SETTINGS = "server_settings"
    SIGNAL_BACKENDS = "signal_backends"
    MONITOR = "monitor"
    MAINTENANCE = "maintenance"
    CREATE_DATABASE = "create_database"
    CREATE_OBJECTS = "create_objects"
    GRANT_OPTIONS = "grant_options"
    WRITE_TABLES = "write_tables"
    ALTER_TABLES = "alter_tables"
    WRITE_SEQUENCES = "write_sequences"
    WRITE_LARGE_OBJECTS = "write_large_objects"
    FOREIGN_TABLES = "foreign_tables"
    TEMPORARY_TABLES = "temporary_tables"
    CREATE_LARGE_OBJECTS = "create_large_objects"


MEANINGS = {
    Power.SUPERUSER: "may do everything, on the server's machine too",
    Power.SERVER_PROGRAMS: "may run programs on the server's machine",
    Power.SERVER_FILES: "may read or write files on the server's machine",
    Power.BYPASS_RLS: "row security does not hold for it",
    Power.CREATE_ROLE: "may make roles and change those of others",
    Power.REPLICATION: "may copy the whole server by replication",
    Power.WRITE_ALL_DATA: "may write every table",
    Power.READ_ALL_DATA: "may read every table, whatever is granted",
    Power.OWNER: "owns things, which it may alter, drop and grant, and whose row security it passes by",
    Power.SECURITY_DEFINER: "may run functions with the rights of their owner",
    Power.OTHER_SERVERS: "may reach other servers, or sessions beside its own",
    Power.RESTRICTED_OBJECTS: "may use functions or catalogs that are installed closed to ordinary roles",
    Power.UNTRUSTED_FUNCTIONS: "may run functions written in a language that reaches the server's machine",
    Power.SERVER_SETTINGS: "may change settings that are for superusers",
    Power.SIGNAL_BACKENDS: "may end the sessions of others",
    Power.MONITOR: "may see statements, settings and statistics of others",
    Power.MAINTENANCE: "may do maintenance of the server",
    Power.CREATE_DATABASE: "may make databases",
    Power.CREATE_OBJECTS: "may make tables, functions or schemas",
    Power.GRANT_OPTIONS: "may pass rights on to others",
    Power.WRITE_TABLES: "may write tables",
    Power.ALTER_TABLES: "may attach triggers or foreign keys to tables, or maintain them",
    Power.WRITE_SEQUENCES: "may advance sequences",
    Power.WRITE_LARGE_OBJECTS: "may write large objects",
    Power.FOREIGN_TABLES: "may read foreign tables, which other servers or files answer",
    Power.TEMPORARY_TABLES: "may make temporary tables",
    Power.CREATE_LARGE_OBJECTS: "may make large objects",
}
"""One phrase each."""

NOTES = frozenset({Power.FOREIGN_TABLES, Power.TEMPORARY_TABLES, Power.CREATE_LARGE_OBJECTS})
"""What a login ordinarily has, or has by an owner's decision: worth knowing, and no obstacle."""

OVER_PRIVILEGED = tuple(power for power in Power if power not in NOTES)
"""What a datasource is not served with unless its configuration names it."""

PUBLIC = "PUBLIC"
"""Who everybody is. No role can have this name: PostgreSQL reserves `public`, and quotes would make it another."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One power, from one source."""

    power: Power
    evidence: str
    """The thing and the privileges, such as `table public.orders: INSERT, UPDATE`."""
    through: str
    """The role that has it: the login, the role it takes on, one they are members of, or PUBLIC."""
    fix: str
    """A statement that takes it away; empty where only another login helps."""

    @property
    def over_privileged(self) -> bool:
        """Whether an explicit line is needed."""
        return self.power not in NOTES


def unaccepted(powers: frozenset[Power], accepted: frozenset[Power]) -> tuple[Power, ...]:
    """The powers that need a line and have none, worst first. A superuser has all others, so that line covers them."""
    if Power.SUPERUSER in accepted:
        return ()
    return tuple(power for power in OVER_PRIVILEGED if power in powers - accepted)
