"""Resources as Cedar entities: their ids, attributes and ancestors.

An id is the names of a resource joined by dots. A name that contains a dot or a
double quote, or is empty, stands in double quotes with inner quotes doubled, as in
SQL; every other name stands bare. So two resources never share an id, whatever a
database calls its things.
"""

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ostiary_policies.model import (
    BACKUP_KINDS,
    AuditLog,
    Backup,
    Collection,
    Column,
    Datasource,
    Function,
    Resource,
    Schema,
    Table,
    Tool,
)

RESOURCES: tuple[type[Resource], ...] = (Tool, Datasource, Schema, Table, Column, Function, Collection, Backup, AuditLog)
ATTRIBUTES = frozenset(field.name for resource in RESOURCES for field in fields(resource))
"""Every attribute a policy can ask for."""

_PARTS: Mapping[str, int] = {
    "Tool": 1,
    "Datasource": 1,
    "Schema": 2,
    "Table": 3,
    "Column": 4,
    "Function": 3,
    "Collection": 1,
    "Backup": 2,
}
_AUDIT_LOG = "audit"
_PART = re.compile(r'"((?:[^"]|"")*)"|([^."]+)')


def uid(resource: Resource) -> dict[str, str]:
    """Cedar's name of the resource, as the `type` and `id` that requests carry."""
    return {"type": type(resource).__name__, "id": resource_id(resource)}


def resource_id(resource: Resource) -> str:
    """Spell the id that a policy writes for this resource."""
    return ".".join(_spell(part) for part in names(resource))


def names(resource: Resource) -> tuple[str, ...]:
    """Return the names its id is made of, outermost first."""
    match resource:
        case Tool() | Datasource() | Collection():
            return (resource.name,)
        case Schema():
            return (resource.datasource, resource.name)
        case Table() | Function():
            return (resource.datasource, resource.schema, resource.name)
        case Column():
            return (resource.datasource, resource.schema, resource.table, resource.name)
        case Backup():
            return (resource.datasource, resource.kind)
        case AuditLog():
            return (_AUDIT_LOG,)


def entity(resource: Resource) -> dict[str, Any]:
    """Describe the resource in Cedar's JSON format for entities; its parent is named and not included."""
    above = parent(resource)
    attributes = {field.name: _plain(getattr(resource, field.name)) for field in fields(resource)}
    return {"uid": uid(resource), "attrs": attributes, "parents": [uid(above)] if above else []}


def parent(resource: Resource) -> Resource | None:
    """Return what contains it, or `None`."""
    match resource:
        case Schema() | Backup():
            return Datasource(resource.datasource)
        case Table() | Function():
            return Schema(resource.datasource, resource.schema)
        case Column():
            return Table(resource.datasource, resource.schema, resource.table, resource.table_tags)
        case Tool() | Datasource() | Collection() | AuditLog():
            return None


def names_in(kind: str, written: str) -> tuple[str, ...]:
    """Read the names from an id that somebody wrote for a resource of this type.

    Raises ValueError, saying how it is written, when it can be the id of none: a
    policy about such an id would never apply, and a forbid that never applies is a hole.
    """
    if kind == "AuditLog":
        if written != _AUDIT_LOG:
            raise ValueError(f'there is one audit log: AuditLog::"{_AUDIT_LOG}"')
        return (_AUDIT_LOG,)
    found = _split(written)
    if found is None or len(found) != _PARTS[kind]:
        raise ValueError(f"the id of a {kind} is {_shape(kind)}; a name that contains a dot or a quote is quoted as in SQL")
    if (spelt := ".".join(map(_spell, found))) != written:
        raise ValueError(f"it is spelt `{spelt}`: only a name that contains a dot or a quote is quoted")
    if kind == "Backup" and found[-1] not in BACKUP_KINDS:
        raise ValueError(f"there are backups of the kinds {', '.join(BACKUP_KINDS)}")
    return found


def _spell(name: str) -> str:
    if name and "." not in name and '"' not in name:
        return name
    return '"' + name.replace('"', '""') + '"'


def _split(written: str) -> tuple[str, ...] | None:
    found: list[str] = []
    at = 0
    while part := _PART.match(written, at):
        quoted, bare = part.groups()
        found.append(bare if quoted is None else quoted.replace('""', '"'))
        if part.end() == len(written):
            return tuple(found)
        if written[part.end()] != ".":
            return None
        at = part.end() + 1
    return None


def _shape(kind: str) -> str:
    words = {
        "Tool": "its name",
        "Datasource": "its name",
        "Schema": "`datasource.schema`",
        "Table": "`datasource.schema.table`",
        "Column": "`datasource.schema.table.column`",
        "Function": "`datasource.schema.function`",
        "Collection": "its name",
        "Backup": "`datasource.kind`",
    }
    return words[kind]


def _plain(value: object) -> object:
    return sorted(value) if isinstance(value, frozenset) else value
