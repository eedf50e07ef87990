"""Roles and databases of the embedded cluster, by name.

The audit roles are named here because peer authentication must know them before
the control migrations create them; `ostiary_owner` is absent since nobody logs in as it.
"""

from typing import Final

ADMIN: Final = "ostiary_admin"
"""The superuser `initdb` makes: starts, furnishes and migrates; never lent to an agent."""
AGENT: Final = "ostiary_agent"
"""Agents' statements run as this role: SELECT on the sample shop, and no way into the control database."""
CHANGER: Final = "ostiary_changer"
"""Agents' changes run as this role: it writes rows of the sample shop, owns nothing, and has no way into the control database."""
WRITER: Final = "ostiary_writer"
"""Appends to the audit table."""
READER: Final = "ostiary_reader"
"""Reads and verifies the audit table."""
KEEPER: Final = "ostiary_vectors"
"""Keeps collections of vectors: it has a schema of its own in their database, and no way into any other."""
RESTORER: Final = "ostiary_restorer"
"""Makes databases out of backups. A restore runs what owners of the tables wrote, so it is no superuser."""
LOGIN_ROLES: Final = (ADMIN, AGENT, CHANGER, WRITER, READER, KEEPER, RESTORER)
"""Whom the operating system's user may be in the database."""

CONTROL: Final = "control"
"""Audit, and whatever else must survive a restart."""
SHOP: Final = "shop"
"""The sample database."""
VECTORS: Final = "vectors"
"""Texts and vectors of collections, which are shown through policy alone."""
