"""Addresses of tables as resources: made of names, and read as data of an unknown client."""

from urllib.parse import quote, unquote

from ostiary_tools.result import Name

TEMPLATE = "schema://{datasource}/{schema}/{table}"
"""Each part is percent-encoded."""


def address_of(name: Name) -> str:
    """The address of a table by its path."""
    return "schema://" + "/".join(quote(part, safe="") for part in name.path)


def path_of(uri: str) -> tuple[str, str, str]:
    """Datasource, schema and table of an address. Raises ValueError for any other text."""
    scheme, _, rest = uri.partition("://")
    parts = tuple(unquote(part, errors="strict") for part in rest.split("/"))
    if scheme != "schema" or len(parts) != 3 or not all(parts):  # noqa: PLR2004 - datasource, schema, table
        raise ValueError(uri[:100])
    return parts


def quoted(name: str) -> str:
    """A SQL identifier: a name from an address is data, dots and quotes included."""
    return '"' + name.replace('"', '""') + '"'
