"""What of a caller's policy grants and row security can say for a login, and what stays closed because they cannot.

What is granted is never more than the gate gives. A mask has no counterpart, so a masked column is not granted; rows of
a view or of another server's table cannot be filtered, so where rules decide about them they are not granted either.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from ostiary_tools.identifiers import qualified
from ostiary_tools.native.facts import Facts, Held, RowPolicy, is_ours, policy_names
from ostiary_tools.snapshot import Name, Relation
from ostiary_tools.view import SchemaView

ALL_ROWS = "TRUE"
"""The predicate of row rules that keep every row."""
_LEAKING = "a condition of the login's own may be asked of rows that the view leaves out; make it a `security_barrier`"
_WHOLE_ROW = ".*"
"""As the server writes it in a view's definition; stars are written out."""
_FILTERED_KINDS = ("r", "p")
"""Relations that row security can be enabled on."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the login shall have of one relation."""

    columns: tuple[str, ...]
    rows: str
    """The predicate of its policies; empty where it has all rows without any."""


@dataclass(frozen=True, slots=True)
class Installation:
    """What a login shall have in one database, and nothing besides."""

    wanted: Mapping[Name, Wanted]
    closed: Mapping[Name, str]
    """Relations that the caller may read by the gate and that are not granted → why, in a sentence."""
    remarks: tuple[str, ...]
    """What else differs from the gate, each in a sentence."""


def installation(view: SchemaView, facts: Facts) -> Installation:
    """Say the caller's view of a datasource natively."""
    readable = [
        relation
        for name, relation in sorted(view.snapshot.relations.items())
        if name in facts.relations and relation.resource(view.datasource) in view.readable
    ]
    closed = {_name(relation): why for relation in readable if (why := _why_closed(view, relation, facts))}
    open_ = [relation for relation in readable if _name(relation) not in closed]
    wanted = {_name(relation): _wanted(view, relation, facts.relations[_name(relation)]) for relation in open_}
    for name in sorted(_leaking(view, wanted, facts)):
        closed[name] = f"{_said(name)} is not granted: {_LEAKING}"
        del wanted[name]
    remarks = tuple(remark for relation in open_ if _name(relation) in wanted for remark in _remarks(view, relation, facts))
    return Installation(wanted, closed, remarks)


def _wanted(view: SchemaView, relation: Relation, held: Held) -> Wanted:
    rows = _predicate(view, _name(relation))
    needed = held.kind in _FILTERED_KINDS and (held.row_security or rows != ALL_ROWS)
    return Wanted(_given(view, relation), rows if needed else "")


def _given(view: SchemaView, relation: Relation) -> tuple[str, ...]:
    """The columns that the caller may have as they are, and without anybody being asked."""
    asked = view.asked_about(relation) or ()
    return tuple(column.name for column in view.readable_columns(relation) if column.name not in asked)


def _leaking(view: SchemaView, wanted: Mapping[Name, Wanted], facts: Facts) -> Collection[Name]:
    """Views that are no barrier and read what the login may not: a condition of its own may be asked of rows they leave out."""
    plain = {name for name in wanted if facts.relations[name].kind == "v" and not facts.relations[name].guarded}
    leaking: set[Name] = set()
    while found := {name for name in plain - leaking if _reads_beyond(view, name, wanted, leaking)}:
        leaking |= found
    return leaking


def _reads_beyond(view: SchemaView, name: Name, wanted: Mapping[Name, Wanted], leaking: Collection[Name]) -> bool:
    """Whether a view reads rows or columns that the login has not by itself, or by functions nobody looked into."""
    detail = view.snapshot.details.relations.get(name)
    if detail is None or detail.calls:
        return True
    for schema, table, column in detail.uses:
        own = wanted.get((schema, table))
        if own is None or own.rows not in ("", ALL_ROWS) or (schema, table) in leaking:
            return True
        # Who names a whole row names no column of it.
        every = not column or _WHOLE_ROW in detail.definition
        named = [one.name for one in view.snapshot.relations[schema, table].columns if every or one.name == column]
        if not set(named) <= set(own.columns):
            return True
    return False


def _predicate(view: SchemaView, name: Name) -> str:
    terms = view.rows.get(name)
    if terms is None or terms.predicate.upper() == ALL_ROWS:
        return ALL_ROWS
    return terms.predicate


def _why_closed(view: SchemaView, relation: Relation, facts: Facts) -> str:
    """Why nothing of a readable relation is granted; empty when something is."""
    name, held = _name(relation), facts.relations[_name(relation)]
    said, terms = _said(name), view.rows.get(name)
    if terms is not None and terms.refusal:
        return f"{said} is not granted: {terms.refusal}"
    if why := _unsaid(view, relation):
        return f"{said} is not granted: {why}"
    filtered = _predicate(view, name) != ALL_ROWS
    if filtered and held.kind not in _FILTERED_KINDS:
        return f"{said} is not granted: row security cannot filter a {relation.kind}"
    if held.kind in _FILTERED_KINDS and (filtered or held.row_security):
        foreign = [policy.name for policy in held.policies if _decides_too(held, policy, facts.login)]
        if foreign:
            names = ", ".join(f"`{one}`" for one in sorted(foreign))
            return f"{said} is not granted: its owner's row security decides about it too ({names})"
    return ""


def _unsaid(view: SchemaView, relation: Relation) -> str:
    """What of the caller's terms no grant could say; empty where there is nothing."""
    if view.enters(relation):
        return "masks or row rules hold inside it, and with a grant its query runs with its owner's rights"
    if view.asked_about(relation) == ():
        return "a human is asked before any read of it"
    return "" if _given(view, relation) else "no column of it can be read as it is"


def _decides_too(held: Held, policy: RowPolicy, login: str) -> bool:
    """Whether row security is already somebody else's: a policy decides about the login, or would wake up for everybody.

    Where the login's own two policies stand, no other one can give it more.
    """
    if is_ours(policy.name):
        return False
    installed = {one.name for one in held.policies}.issuperset(policy_names(login))
    return not installed and policy.reads if held.row_security else True


def _remarks(view: SchemaView, relation: Relation, facts: Facts) -> Iterator[str]:
    said = _said(_name(relation))
    masked = [column.name for column in relation.columns if view.mask(relation, column)]
    if masked:
        names = ", ".join(f"`{name}`" for name in masked)
        yield f"{names} of {said} can be read through a mask, and a grant would give the values: not granted"
    if asked := view.asked_about(relation):
        names = ", ".join(f"`{name}`" for name in asked)
        yield f"a human is asked before any read of {names} of {said}: not granted"
    if facts.relations[_name(relation)].invoker:
        yield f"{said} reads with the rights of whoever asks, so the login has of it what it may read beneath"


def _name(relation: Relation) -> Name:
    return relation.schema, relation.name


def _said(name: Name) -> str:
    return f"`{qualified(*name)}`"
