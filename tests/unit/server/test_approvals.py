"""What a yes is good for."""

import pytest

from ostiary.approvals import Answer, approved
from ostiary_policies.attributes import AttributeType, attribute
from ostiary_policies.model import Intent, Obligations, Permit, Principal
from ostiary_tools.control.approvals import ApprovalTable


def permit(roles: tuple[str, ...] = ("r",), **attributes: list[str]) -> Permit:
    who = Principal("a", roles, tuple(attribute(name, AttributeType.TEXTS, value) for name, value in attributes.items()))
    return Permit(who, Intent("launch", {"what": "x"}), Obligations(), ("p",), "sha256:0")


async def about(permit: Permit) -> str:
    """What the question of this call is about."""
    heard = []

    async def ask(_question: str, about: str) -> Answer:
        heard.append(about)
        return Answer(approved=False)

    assert not await approved(permit, "Launch?", ask, ApprovalTable(""))
    return heard[0]


@pytest.mark.asyncio
async def test_a_yes_is_for_the_caller_as_it_was_and_the_order_of_a_set_is_nothing():
    callers = [permit(), permit(("r", "s")), permit(teams=["a"]), permit(teams=["a", "b"]), permit(teams=[]), permit(team=["a"])]
    assert len({await about(each) for each in callers}) == len(callers)
    assert await about(permit(teams=["a", "b"])) == await about(permit(teams=["b", "a"]))
