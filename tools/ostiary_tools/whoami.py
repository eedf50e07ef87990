"""The agent's own picture: who it is here and what it may use."""

from ostiary_policies.model import Intent, Permit
from ostiary_tools.api import Args, Hints, Session, Surface, Text, World


class WhoamiArgs(Args):
    """No arguments."""


class Whoami:
    """The `whoami` tool."""

    name = "whoami"
    title = "Who am I"
    description = "Your agent name, roles, the datasources and tools you may use, and the terms of your replies."
    surface = Surface.TOOL
    hints = Hints()
    args = WhoamiArgs

    def plan(self, args: WhoamiArgs, world: World) -> Intent:  # noqa: ARG002 - the protocol's shape
        """Nothing but the call itself."""
        return Intent(tool=self.name)

    async def run(self, permit: Permit, session: Session) -> Text:
        """Lines of `key: values`."""
        world = session.world
        terms = permit.obligations
        lines = [
            f"agent: {permit.principal.agent}",
            f"roles: {', '.join(permit.principal.roles)}",
            *(f"datasource: {name} ({_extent(world, name)})" for name in sorted(world.views)),
            *(f"datasource: {name} (not available: {why})" for name, why in sorted(world.unavailable.items())),
            f"tools: {', '.join(world.tools)}",
            f"terms of this call: {_terms(terms.limit_rows, terms.limit_bytes, terms.timeout_s)}",
            f"policy: {permit.policy_hash}",
        ]
        return Text("\n".join(lines))


def _extent(world: World, name: str) -> str:
    view = world.views[name]
    relations = view.relations()
    readable = sum(1 for relation in relations if view.readable_columns(relation))
    return f"{len(relations)} tables and views, {readable} readable"


def _terms(rows: int | None, size: int | None, seconds: float | None) -> str:
    said = [
        f"at most {rows} rows" if rows is not None else "",
        f"{size} bytes" if size is not None else "",
        f"{seconds:g} s" if seconds is not None else "",
    ]
    return ", ".join(s for s in said if s) or "the server's own limits"
