"""Who is calling, from facts of the transport and never from arguments."""

from ostiary_policies.model import Principal


def stdio_principal(agent: str, roles: tuple[str, ...]) -> Principal:
    """The one agent of a stdio connection, as configured.

    Whoever may start the process may be this agent: the operating system has already decided it.
    """
    return Principal(agent, tuple(sorted(set(roles))))
