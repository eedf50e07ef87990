"""Two policy sets side by side."""

import pytest

from ostiary_policies.actions import Action
from ostiary_policies.cases import Case
from ostiary_policies.cedar import PolicySet
from ostiary_policies.comparison import Change, case_changes, policy_changes
from ostiary_policies.engine import Engine
from ostiary_policies.model import Access, Principal, Tool

BASE = '@id("p") @limit_rows("5") permit (principal in Role::"r", action == Action::"call", resource == Tool::"query");'


def parsed(*texts: str) -> PolicySet:
    return PolicySet.parse({f"{number}.cedar": text for number, text in enumerate(texts)})


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (f"// a word\n\n{BASE.replace(' ', '  ')}", None),
        (BASE.replace("permit", "forbid").replace('@limit_rows("5") ', ""), ("it is a `forbid` and was a `permit`", "@limit_rows")),
        (BASE.replace("5", "9"), ('`@limit_rows` is "9" and was "5"',)),
        (BASE.replace('"5") ', '"5") @timeout("2s") '), ('`@timeout("2s")` is new',)),
        (BASE.replace('Role::"r"', 'Role::"s"'), ("it is about other agents",)),
        (BASE.replace('== Action::"call"', 'in [Action::"call", Action::"see"]'), ("it is about other actions",)),
        (BASE.replace('== Tool::"query"', "is Tool"), ("it is about other resources",)),
        (BASE.replace(");", ') when { resource == Tool::"query" };'), ("its conditions are others",)),
    ],
)
def test_what_differs_is_said_and_layout_is_no_difference(after: str, said: tuple[str, ...] | None) -> None:
    changes = policy_changes(parsed(BASE), parsed(after))
    if said is None:
        assert changes == []
        return
    (change,) = changes
    assert (change.id, change.change) == ("p", Change.CHANGED)
    assert len(change.sentences) == len(said)
    assert all(words in sentence for words, sentence in zip(said, change.sentences, strict=True))


def test_policies_are_told_by_their_id_wherever_they_stand() -> None:
    other = BASE.replace('"p"', '"q"')
    assert policy_changes(parsed(BASE, other), parsed(other, BASE)) == []
    assert [(c.id, c.change) for c in policy_changes(parsed(BASE), parsed(other))] == [("p", Change.REMOVED), ("q", Change.ADDED)]


def test_a_case_comes_out_differently_by_its_decision_or_terms_and_not_by_its_rules() -> None:
    ask = Case("r queries", Principal("a", ("r",)), Access(Action.CALL, Tool("query")), allowed=True)
    before = Engine(parsed(BASE))
    assert case_changes(before, Engine(parsed(BASE.replace('"p"', '"q"'))), [ask]) == []
    (terms,) = case_changes(before, Engine(parsed(BASE.replace("5", "9"))), [ask])
    assert (terms.before.obligations.limit_rows, terms.after.obligations.limit_rows) == (5, 9)
    (denied,) = case_changes(before, Engine(parsed(BASE.replace('Role::"r"', 'Role::"s"'))), [ask])
    assert (denied.before.allowed, denied.after.allowed) == (True, False)
