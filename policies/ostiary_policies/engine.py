"""Decides: an intent becomes a Permit or a Denial. The only maker of Permits.

What one access presupposes, and is therefore judged with it:

- to see a schema, see its datasource; to see a table or a function, see its schema;
  to see a column, see its table
- to read a table, see it; to read a column, see it and read its table
- to read a column masked, the same
- to execute a function, see it
- to insert into a table, update it, delete from it or define it, see it; to insert or update a column, see it and do the same
  to its table; to define in a schema, see it

So nothing can be read or run that may not be known, and a forbid on a schema closes
all that is in it. Besides its accesses, an intent needs `call` on its tool and, when
it names a datasource, `see` on that.

Forbid wins, over all roles of the agent; what no policy permits is denied; a policy
that fails while it is evaluated denies what it was asked about. Terms come from every
permit that decided anything in the intent, and the strictest of each holds.
"""

from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from ostiary_policies import masks, obligations
from ostiary_policies.actions import CHANGING, Action
from ostiary_policies.approvals import Approval
from ostiary_policies.budgets import Budget
from ostiary_policies.cedar import Judgment, PolicySet
from ostiary_policies.entities import parent
from ostiary_policies.masks import Mask
from ostiary_policies.model import Access, Column, Datasource, Denial, Intent, Obligations, Permit, Principal, Reason, Tool

_BATCH = 256
_EVALUATIONS = 10_000
"""Accesses, and policies evaluated for them, in one go to Cedar: 10 ms, during which no other Python code runs."""
_REMEMBERED = 300_000
"""Verdicts kept, over all principals; past that, all are forgotten and judged anew."""
_PRINCIPALS = 1_000
"""Principals that a policy can tell apart, remembered at once."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether one access and all it presupposes is allowed."""

    allowed: bool
    rules: tuple[str, ...]
    """Ids of the deciding policies, sorted: the permits when allowed, else the forbids (none: no policy permits it)."""
    obligations: Obligations = obligations.NONE
    reasons: tuple[Reason, ...] = ()
    """When refused: the access itself or what it presupposes, whichever was denied."""

    @property
    def errors(self) -> tuple[str, ...]:
        """What went wrong while judging; any error is a refusal."""
        return tuple(error for reason in self.reasons for error in reason.errors)


@dataclass(frozen=True, slots=True)
class _Memory:
    """What was answered to one principal, or to all that no policy can tell apart."""

    verdicts: dict[Access, Verdict] = field(default_factory=dict)
    judgments: dict[Hashable, Judgment] = field(default_factory=dict)


class Engine:
    """One policy set in force.

    Answers are pure functions of the policy set and the arguments. They are
    remembered, bounded; several threads may ask at once, at worst judging twice.
    """

    def __init__(self, policies: PolicySet) -> None:
        self.policies = policies
        self._memories: dict[Principal, _Memory] = {}
        self._batch = max(1, min(_BATCH, _EVALUATIONS // max(1, len(policies.policies))))

    @property
    def policy_hash(self) -> str:
        """Digest of the policy set, `sha256:…`."""
        return self.policies.hash

    @property
    def roles(self) -> frozenset[str]:
        """Roles that any policy names; an agent whose roles are not among them may do nothing."""
        return self.policies.roles

    def allows(self, principal: Principal, access: Access) -> Verdict:
        """Judge one access with what it presupposes."""
        return self._verdicts(principal, (access,))[0]

    def judge_many(self, principal: Principal, accesses: Sequence[Access]) -> None:
        """Judge and remember. About 10 µs an access; many belong in a thread."""
        self._verdicts(principal, accesses)

    def decide(self, principal: Principal, intent: Intent) -> Permit | Denial:
        """Permit the whole intent or deny it with every access that was refused."""
        verdicts = self._verdicts(principal, asked(intent))
        reasons = tuple(dict.fromkeys(reason for verdict in verdicts for reason in verdict.reasons))
        if reasons or not all(verdict.allowed for verdict in verdicts):
            return Denial(principal, intent, reasons, self.policy_hash)
        distinct = {id(verdict): verdict for verdict in verdicts}.values()
        return Permit(
            principal=principal,
            intent=intent,
            obligations=obligations.strictest(verdict.obligations for verdict in distinct),
            rules=tuple(sorted({rule for verdict in distinct for rule in verdict.rules})),
            policy_hash=self.policy_hash,
        )

    def mask(self, principal: Principal, column: Column) -> Mask | None:
        """What stands in the place of the column's values; `None` when it may not be read masked, or no policy says how."""
        verdict = self.allows(principal, Access(Action.READ_MASKED, column))
        if not verdict.allowed:
            return None
        stated = (self.policies.policies[rule].mask for rule in verdict.rules)
        return masks.strictest(mask for mask in stated if mask is not None)

    def stating(self, permit: Permit, term: str) -> tuple[str, ...]:
        """Ids of the permit's rules that state the term, a field of `Obligations`, as strictly as it is in force; sorted."""
        in_force = getattr(permit.obligations, term)
        if isinstance(in_force, tuple):
            return self.stating_any(permit, term, in_force)
        stated = {rule: getattr(self.policies.policies[rule].obligations, term) for rule in permit.rules}
        if isinstance(in_force, frozenset):  # all that is stated is in force
            return tuple(rule for rule in sorted(stated) if stated[rule])
        return tuple(rule for rule in sorted(stated) if in_force is not None and stated[rule] == in_force)

    def stating_any(self, permit: Permit, term: str, wanted: Collection[object]) -> tuple[str, ...]:
        """Ids of the permit's rules that state one of these in a term that holds several; sorted."""
        stated = {rule: getattr(self.policies.policies[rule].obligations, term) for rule in permit.rules}
        return tuple(rule for rule in sorted(stated) if any(one in wanted for one in stated[rule]))

    def approvals(self, permit: Permit) -> tuple[Approval, ...]:
        """Those of its terms that the permit waits for: by what it changes, and how many rows.

        A change that is only looked at and rolled back waits for none that comes of what it changes.
        """
        intent, stated = permit.intent, permit.obligations.approvals
        if not (intent.changes or intent.undoes):
            return tuple(one for one in stated if one.above_rows is None)
        if intent.stays:
            return tuple(one for one in stated if one.asked_of_change(intent.rows_changed))
        looks = [access for access in asked(intent) if access.action not in CHANGING]
        terms = obligations.strictest(verdict.obligations for verdict in self._verdicts(permit.principal, looks))
        return tuple(one for one in terms.approvals if one.above_rows is None)

    def stating_budget(self, permit: Permit, budget: Budget) -> tuple[str, ...]:
        """Ids of the permit's rules that state the budget; sorted."""
        return tuple(rule for rule in permit.rules if budget in self.policies.policies[rule].obligations.budgets)

    def covers(self, permit: Permit, accesses: Iterable[Access]) -> bool:
        """Whether this policy set gave the permit and every access is among what it permits."""
        granted = frozenset(asked(permit.intent))
        others = [access for access in accesses if access not in granted]
        if others:
            granted = frozenset(_with_presupposed(granted))
        return permit.policy_hash == self.policy_hash and all(access in granted for access in others)

    def _verdicts(self, principal: Principal, accesses: Sequence[Access]) -> list[Verdict]:
        known = self._as_told_apart(principal)
        memory = self._memories.setdefault(known, _Memory())
        if missing := [access for access in accesses if access not in memory.verdicts]:
            self._learn(known, memory, missing)
        return [memory.verdicts[access] for access in accesses]

    def _as_told_apart(self, principal: Principal) -> Principal:
        """The principal without what no policy asks about: a name that none names (none may name the empty one), an attribute."""
        agent = principal.agent if principal.agent in self.policies.agents else ""
        asked_for = self.policies.attributes_asked_for
        taints = principal.taints if self.policies.asks_for_taints else frozenset()
        return Principal(agent, principal.roles, tuple(one for one in principal.attributes if one.name in asked_for), taints)

    def _learn(self, principal: Principal, memory: _Memory, accesses: Sequence[Access]) -> None:
        memories = tuple(self._memories.values())
        if len(memories) > _PRINCIPALS or sum(len(kept.verdicts) for kept in memories) > _REMEMBERED:
            # A new dict: whoever still works with an old memory keeps it to the end of the call.
            self._memories = {}
        unknown = [access for access in _with_presupposed(accesses) if access not in memory.verdicts]
        for start in range(0, len(unknown), self._batch):
            chunk = unknown[start : start + self._batch]
            for access, judgment in zip(chunk, self._judgments(principal, memory, chunk), strict=True):
                presupposed = [memory.verdicts[other] for other in presupposes(access)]
                memory.verdicts[access] = self._combined([self._verdict(access, judgment), *presupposed])

    def _judgments(self, principal: Principal, memory: _Memory, accesses: Sequence[Access]) -> list[Judgment]:
        """Ask Cedar once for all accesses that are alike."""
        likenesses = [self.policies.likeness(access) for access in accesses]
        first = {like: access for like, access in zip(likenesses, accesses, strict=True) if like not in memory.judgments}
        if first:
            memory.judgments.update(zip(first, self.policies.judge(principal, tuple(first.values())), strict=True))
        return [memory.judgments[like] for like in likenesses]

    def _verdict(self, access: Access, judgment: Judgment) -> Verdict:
        if not judgment.allowed:
            # When an error denied it, the permits that would have decided are no reason for the refusal.
            rules = tuple(rule for rule in judgment.rules if self.policies.policies[rule].effect == "forbid")
            return Verdict(allowed=False, rules=rules, reasons=(Reason(access, rules, judgment.errors),))
        terms = obligations.strictest(self.policies.policies[rule].obligations for rule in judgment.rules)
        return Verdict(allowed=True, rules=judgment.rules, obligations=terms)

    def _combined(self, verdicts: Sequence[Verdict]) -> Verdict:
        refused = [verdict for verdict in verdicts if not verdict.allowed]
        return Verdict(
            allowed=not refused,
            rules=tuple(sorted({rule for verdict in refused or verdicts for rule in verdict.rules})),
            obligations=obligations.NONE if refused else obligations.strictest(verdict.obligations for verdict in verdicts),
            reasons=tuple(dict.fromkeys(reason for verdict in refused for reason in verdict.reasons)),
        )


def asked(intent: Intent) -> tuple[Access, ...]:
    """All that the intent needs, without what that presupposes."""
    datasource = () if intent.datasource is None else (Access(Action.SEE, Datasource(intent.datasource)),)
    return (Access(Action.CALL, Tool(intent.tool)), *datasource, *intent.accesses)


def presupposes(access: Access) -> tuple[Access, ...]:
    """Name what this access directly presupposes, by the rules above."""
    above = parent(access.resource)
    match access.action:
        case Action.SEE:
            return (Access(Action.SEE, above),) if above else ()
        case Action.READ | Action.READ_MASKED:
            table = (Access(Action.READ, above),) if above and isinstance(access.resource, Column) else ()
            return (*table, Access(Action.SEE, access.resource))
        case Action.INSERT | Action.UPDATE:
            table = (Access(access.action, above),) if above and isinstance(access.resource, Column) else ()
            return (*table, Access(Action.SEE, access.resource))
        case Action.EXECUTE | Action.DELETE | Action.DEFINE:
            return (Access(Action.SEE, access.resource),)
        case Action.SEARCH | Action.INDEX | Action.MANAGE | Action.DROP | Action.CALL | Action.READ_AUDIT:
            return ()
        case Action.BACK_UP | Action.VERIFY | Action.RESTORE:
            return ()


def _with_presupposed(accesses: Iterable[Access]) -> Iterator[Access]:
    """Each access once, behind all that it presupposes."""
    given: set[Access] = set()

    def behind(access: Access) -> Iterator[Access]:
        if access not in given:
            given.add(access)
            for other in presupposes(access):
                yield from behind(other)
            yield access

    for access in accesses:
        yield from behind(access)
