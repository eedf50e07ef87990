"""What a yes is good for."""

from dataclasses import replace

from ostiary.approvals import about
from ostiary_policies.attributes import AttributeType, attribute
from ostiary_policies.model import Intent, Obligations, Permit, Principal, Statement
from ostiary_tools.view import World


def permit(roles: tuple[str, ...] = ("r",), **attributes: list[str]) -> Permit:
    who = Principal("a", roles, tuple(attribute(name, AttributeType.TEXTS, value) for name, value in attributes.items()))
    return Permit(who, Intent("launch", {"what": "x"}), Obligations(), ("p",), "sha256:0")


def asked(permit: Permit) -> str:
    """What the question of this call is about."""
    return about(permit, World(permit.principal, {}), "Launch?")


def test_a_yes_is_for_the_caller_as_it_was_and_the_order_of_a_set_is_nothing():
    callers = [permit(), permit(("r", "s")), permit(teams=["a"]), permit(teams=["a", "b"]), permit(teams=[]), permit(team=["a"])]
    assert len({asked(each) for each in callers}) == len(callers)
    assert asked(permit(teams=["a", "b"])) == asked(permit(teams=["b", "a"]))


def test_a_yes_is_for_what_runs_with_its_values_where_its_rows_go_and_what_the_caller_has_read():
    one = permit()
    tainted = replace(one, principal=replace(one.principal, taints=frozenset({"untrusted"})))
    statements = [
        Statement("SELECT $1", ("1",)),
        Statement("SELECT $1", ("2",)),
        Statement("SELECT $1", (None,)),
        Statement("SELECT $1", ("1",), "SELECT $1 FROM fenced"),
    ]
    intents = [replace(one.intent, statements=(each,)) for each in statements]
    intents += [replace(one.intent, to_file=True), replace(intents[0], to_file=True)]
    calls = [one, tainted, *(replace(one, intent=intent) for intent in intents)]
    assert len({asked(each) for each in calls}) == len(calls)
