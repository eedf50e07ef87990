"""A gate like a server's, for tools of a test's own."""

from typing import Any

from ostiary.app import House, terms
from ostiary.gate import Gate
from ostiary.worlds import Worlds
from ostiary_tools.api import Tool


def gate_with(house: House, tool: Tool[Any]) -> Gate:
    """The house's own, with one tool more."""
    own = house.gate
    registry = {**house.registry, (tool.surface, tool.name): tool}
    return Gate(
        registry=registry,
        policies=house.policies,
        worlds=Worlds(house.datasources, registry),
        datasources=house.datasources,
        recorder=house.recorder,
        audit_reader=own._means.audit_reader,
        cursors=house.cursors,
        examples=own._examples,
        approvals=own._approvals,
        people=own._people,
        jobs=own._means.jobs,
        queue=house.queue,
        budgets=own._budgets,
        taints=own._taints,
        shelves=own._shelves,
        vault=house.vault,
        ledger=own._ledger,
        terms=terms(house.config),
        meter=house.meter,
    )
