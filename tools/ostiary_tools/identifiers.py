"""Names of relations as people and models write them: printing them and finding what they mean for a caller."""

import re
from difflib import get_close_matches

from pglast.keywords import RESERVED_KEYWORDS, TYPE_FUNC_NAME_KEYWORDS

from ostiary_tools.errors import Refused
from ostiary_tools.snapshot import Relation
from ostiary_tools.view import SchemaView

_PLAIN = re.compile(r"[a-z_][a-z0-9_$]*")
_PART = r'(?:"(?:[^"]|"")+"|[^".]+)'
_WRITTEN = re.compile(rf"\s*(?:({_PART})\s*\.\s*)?({_PART})\s*")
_MUST_QUOTE = RESERVED_KEYWORDS | TYPE_FUNC_NAME_KEYWORDS


def identifier(name: str) -> str:
    """The name as SQL needs it, quoted only where it must be."""
    if _PLAIN.fullmatch(name) and name not in _MUST_QUOTE:
        return name
    return quoted(name)


def quoted(name: str) -> str:
    """The name in quotes, so that no keyword can be taken for it."""
    return '"' + name.replace('"', '""') + '"'


def qualified(schema: str, name: str) -> str:
    """`schema.name`, each part quoted where it must be."""
    return f"{identifier(schema)}.{identifier(name)}"


def one_line(text: str, limit: int = 200) -> str:
    """Text from the database in one line, cut at `limit`: it can neither end a line nor begin one."""
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    line = " ".join(line.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def find_relation(view: SchemaView, written: str) -> Relation:
    """Find what `schema.table` or `table` means: through the search path first, then by the name alone.

    Raises Refused when it names nothing the caller may see, or more than one thing.
    """
    schema, name = relation_written(written)
    for candidate in (schema,) if schema is not None else view.snapshot.search_path:
        found = view.relation(candidate, name)
        if found is not None:
            return found
    same = [relation for relation in view.relations() if relation.name == name] if schema is None else []
    if len(same) == 1:
        return same[0]
    if same:
        places = ", ".join(qualified(relation.schema, relation.name) for relation in same[:10])
        raise Refused("ambiguous_table", f"`{one_line(written, 80)}` names several tables", f"say which: {places}")
    raise Refused("unknown_table", f"unknown table `{one_line(written, 80)}`", _nearest(view, name))


def relation_written(written: str) -> tuple[str | None, str]:
    """The schema, where one is named, and the name, as SQL reads them. Raises Refused."""
    match = _WRITTEN.fullmatch(written)
    if match is None:
        raise Refused("unknown_table", f"`{one_line(written, 80)}` is not a table name", "write `schema.table`")
    schema, name = (_folded(part) for part in match.groups())
    if name is None:
        raise Refused("unknown_table", "the table name is empty", "write `schema.table`")
    return schema, name


def _folded(part: str | None) -> str | None:
    if part is None:
        return None
    part = part.strip()
    return part[1:-1].replace('""', '"') if part.startswith('"') else part.lower()


def _nearest(view: SchemaView, name: str) -> str:
    known = {relation.name: qualified(relation.schema, relation.name) for relation in view.relations()}
    near = [known[match] for match in get_close_matches(name, known, n=3)]
    return f"did you mean {', '.join(near)}?" if near else "search_schema lists what you may see"
