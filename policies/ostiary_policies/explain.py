"""A decision in sentences, with the ids of the rules that made it, for the owner of the policies.

Says what the caller may not see as plainly as the rest: what an agent is told of a
refusal is not made here.
"""

from ostiary_policies import approvals, entities
from ostiary_policies.actions import Action
from ostiary_policies.model import Access, AuditLog, Backup, Denial, Function, Obligations, Permit, Principal, Reason, Tool


def explain(decision: Permit | Denial) -> list[str]:
    """Return a headline and then one sentence for each term or reason."""
    who = subject(decision.principal)
    tool = f"call `{decision.intent.tool}`"
    match decision:
        case Permit():
            rules = _quoted(decision.rules)
            return [f"{who} may {tool} like this: permitted by {rules}", *terms(decision.obligations)]
        case Denial():
            headline = f"{who} may not {tool} like this"
            return [headline, *(because(decision.principal, reason) for reason in decision.reasons)]


def because(principal: Principal, reason: Reason) -> str:
    """Say why one access is refused."""
    refused = f"{subject(principal)} may not {wish(reason.access)}"
    if reason.errors:
        return f"{refused}: it could not be decided ({'; '.join(reason.errors)})"
    if reason.rules:
        return f"{refused}: forbidden by {_quoted(reason.rules)}"
    return f"{refused}: no policy permits it"


def terms(obligations: Obligations) -> list[str]:
    """Say each term that is set."""
    return [*term_by_term(obligations).values(), *(f"at most {budget}" for budget in obligations.budgets)]


def term_by_term(obligations: Obligations) -> dict[str, str]:
    """Say each term that is set, by its name in `Obligations`; budgets are none of them."""
    said = {}
    if obligations.limit_rows is not None:
        said["limit_rows"] = f"at most {obligations.limit_rows:,} rows"
    if obligations.limit_bytes is not None:
        said["limit_bytes"] = f"at most {obligations.limit_bytes:,} bytes of text"
    if obligations.timeout_s is not None:
        said["timeout_s"] = f"at most {obligations.timeout_s:g} seconds in the database"
    if obligations.max_cost is not None:
        said["max_cost"] = f"at most a cost of {obligations.max_cost:,.12g} as the planner estimates it"
    if obligations.max_rows_scanned is not None:
        said["max_rows_scanned"] = f"at most {obligations.max_rows_scanned:,} rows scanned as the planner estimates them"
    if obligations.approvals:
        said["approvals"] = f"only when {'; and when '.join(map(approvals.said, obligations.approvals))}"
    if obligations.replica is not None:
        said["replica"] = "only on a replica of the database, never on the primary"
    if obligations.taints:
        said["taints"] = f"tainted from then on with {', '.join(f'`{taint}`' for taint in sorted(obligations.taints))}"
    return said


def wish(access: Access) -> str:
    """Say what the access would do, as it stands behind `may`."""
    match access.resource:
        case AuditLog():
            return "read the audit log" if access.action is Action.READ_AUDIT else f"{access.action.value} the audit log"
        case Function():
            return f"{access.action.value} function `{entities.resource_id(access.resource)}()`"
        case Backup():
            return wish_of_backup(access.action, access.resource)
        case Tool():
            return f"{access.action.value} `{access.resource.name}`"
        case resource:
            return f"{access.action.value} {type(resource).__name__.lower()} `{entities.resource_id(resource)}`"


def wish_of_backup(action: Action, backup: Backup) -> str:
    """Likewise, of backups."""
    kept = f"{backup.kind} backups of `{backup.datasource}`"
    return f"make {kept}" if action is Action.BACK_UP else f"{action.value} {kept}"


def subject(principal: Principal) -> str:
    """Name the agent by its roles, which is what policies go by, and by its own name when it has none."""
    match principal.roles:
        case ():
            return f"agent `{principal.agent}`, which has no role,"
        case (role,):
            return f"`{role}`"
        case roles:
            return " with ".join(f"`{role}`" for role in roles)


def _quoted(rules: tuple[str, ...]) -> str:
    return ", ".join(f"`{rule}`" for rule in rules)
