"""An entity-relationship diagram in Mermaid for a set of relations, of what the caller may see and nothing else."""

import re
from collections.abc import Sequence

from ostiary_tools.snapshot import ForeignKey, Relation
from ostiary_tools.view import SchemaView


def er_diagram(view: SchemaView, relations: Sequence[Relation]) -> str:
    """Mermaid's `erDiagram` of the relations and the foreign keys between them."""
    chosen = {(relation.schema, relation.name): relation for relation in relations}
    lines = ["erDiagram"]
    for relation in chosen.values():
        lines.append(f'  {_entity(relation)}["{_label(relation)}"] {{')
        lines += [
            f"    {_word(column.type)} {_word(column.name)}{_marks(view, relation, column.name)}"
            for column in view.columns(relation)
        ]
        lines.append("  }")
    for relation in chosen.values():
        for key in visible_foreign_keys(view, relation):
            target = chosen.get((key.target_schema, key.target_table))
            if target is not None:
                lines.append(
                    f"  {_entity(target)} {_cardinality(relation, key)} {_entity(relation)} : {_word('_'.join(key.columns))}"
                )
    return "\n".join(lines)


def visible_foreign_keys(view: SchemaView, relation: Relation) -> tuple[ForeignKey, ...]:
    """The relation's foreign keys of which the caller may see both ends, every column included."""
    return tuple(key for key in relation.foreign_keys if _shows(view, relation, key.columns) and _target_visible(view, key))


def _target_visible(view: SchemaView, key: ForeignKey) -> bool:
    target = view.relation(key.target_schema, key.target_table)
    return target is not None and _shows(view, target, key.target_columns)


def _shows(view: SchemaView, relation: Relation, names: Sequence[str]) -> bool:
    """Whether all these columns exist for the caller; looks at no other, for a relation may have hundreds."""
    columns = map(relation.column, names)
    return all(c is not None and relation.column_resource(view.datasource, c) in view.visible for c in columns)


def _marks(view: SchemaView, relation: Relation, column: str) -> str:
    marks = ["PK"] if column in relation.primary_key else []
    if any(column in key.columns for key in visible_foreign_keys(view, relation)):
        marks.append("FK")
    return f" {', '.join(marks)}" if marks else ""


def _cardinality(relation: Relation, key: ForeignKey) -> str:
    """Left is the target: exactly one unless a column may be null; right is one at most where the columns are a key."""
    columns = [relation.column(name) for name in key.columns]
    left = "||" if all(column is not None and column.not_null for column in columns) else "|o"
    keys = {frozenset(names) for names in (relation.primary_key, *relation.unique_keys) if names}
    return f"{left}--{'o|' if frozenset(key.columns) in keys else 'o{'}"


def _entity(relation: Relation) -> str:
    return _word(f"{relation.schema}_{relation.name}")


def _label(relation: Relation) -> str:
    return re.sub(r'["\[\]\n\r]', "'", f"{relation.schema}.{relation.name}")


def _word(text: str) -> str:
    """A word of Mermaid's grammar: letters, digits and underscores, a letter first."""
    word = re.sub(r"\W+", "_", text).strip("_") or "x"
    return word if word[0].isalpha() else f"x_{word}"
