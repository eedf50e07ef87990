"""What stops the start: everything Cedar would ignore, skip or never match."""

import pytest

from ostiary_policies.cedar import PolicySet
from ostiary_policies.errors import PolicyError, Problem

PERMIT = '@id("p")\npermit (principal in Role::"r", action == Action::"read", resource);\n'


def problems(text: str, other: str | None = None) -> list[Problem]:
    with pytest.raises(PolicyError) as caught:
        PolicySet.parse({"f.cedar": text} | ({} if other is None else {"g.cedar": other}))
    return list(caught.value.problems)


def test_a_valid_set_names_its_policies_roles_and_agents() -> None:
    agent = '@id("q") @timeout("3") permit (principal == Agent::"a", action, resource) unless { principal in Role::"s" };'
    policies = PolicySet.parse({"b.cedar": PERMIT, "a.cedar": agent})
    assert [(p.id, p.file, p.line, p.effect) for p in policies.policies.values()] == [
        ("q", "a.cedar", 1, "permit"),
        ("p", "b.cedar", 1, "permit"),
    ]
    assert policies.roles == {"r", "s"}
    assert policies.agents == {"a"}
    assert policies.policies["q"].obligations.timeout_s == 3.0


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        ('when { resource.tags.contains("pi") }', "unknown tag `pi`"),
        ('when { resource.tags.contains("pii:") }', "unknown tag `pii:`"),
        ('when { resource.tags.contains("PII") }', "unknown tag `PII`"),
        ('when { resource["tags"].contains("pi") }', "unknown tag `pi`"),
        ('when { resource.tags.containsAny(["pii", "oops"]) }', "unknown tag `oops`"),
        ('when { ["oops"].containsAll(resource.table_tags) }', "unknown tag `oops`"),
        ('when { resource.tags == ["oops"] }', "unknown tag `oops`"),
        ('when { resource.tags.contains(if resource.name == "x" then "pii" else "oops") }', "unknown tag `oops`"),
        ('when { (if resource.name == "x" then resource.tags else resource.table_tags).contains("oops") }', "unknown tag `oops`"),
        ('unless { true && !resource.tags.contains("oops") }', "unknown tag `oops`"),
        ('when { resource has tagz && resource.tags.contains("pii") }', "a resource never has an attribute `tagz`"),
        ('when { resource.tagz.contains("pii") }', "attribute `tagz` on entity type `Column` not found"),
        ('when { resource in Table::"customers" }', '`Table::"customers"` can never match'),
        ('when { [Table::"shop.customers"].contains(resource) }', "never match|not compatible"),
        ('when { Table::"shop.public.t".tags.contains("pii") }', "`.` asks about something the request may not carry"),
        ('when { Table::"shop.public.t" has tags }', "`has` asks about something the request may not carry"),
        ('when { Table::"shop.public.t" in Schema::"shop.public" }', "`in` asks about something the request may not carry"),
        ('when { principal in Role::"" }', '`Role::""` can never match'),
        ("when { context.hour == 3 }", "attribute `hour`"),
        ("when { resource.tags.contains(3) }", "Long|type"),
    ],
)
def test_a_condition_that_could_never_hold_as_meant_stops_the_start(condition: str, said: str) -> None:
    text = f'// a comment\n\n@id("f")\nforbid (principal in Role::"r", action == Action::"read", resource is Column) {condition};'
    found = problems(PERMIT + text)
    assert {(p.file, p.line, p.policy) for p in found} == {("f.cedar", 5, "f")}
    assert any(word in p.message for p in found for word in said.split("|"))


def test_a_volatility_that_no_function_has_stops_the_start() -> None:
    text = '@id("f") forbid (principal, action == Action::"execute", resource) when { resource.volatility == "VOLATILE" };'
    assert [p.message for p in problems(PERMIT + text)] == ["unknown volatility `VOLATILE`"]


@pytest.mark.parametrize("tag", ["pii", "pii:email", "secret", "billing"])
def test_tags_of_the_vocabulary_and_declared_ones_are_accepted(tag: str) -> None:
    text = f'@id("f") forbid (principal, action == Action::"read", resource) when {{ resource.tags.contains("{tag}") }};'
    assert set(PolicySet.parse({"f": PERMIT + text}, frozenset({"billing"})).policies) == {"p", "f"}


def test_a_string_that_is_compared_with_a_name_is_no_tag() -> None:
    text = (
        '@id("f") forbid (principal, action == Action::"read", resource) when { resource.name == "pi" && resource.tags.isEmpty() };'
    )
    assert set(PolicySet.parse({"f": PERMIT + text}).policies) == {"p", "f"}


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ("", "it has no usable `@id`"),
        ("@id", "it has no usable `@id`"),
        ('@id("two words")', "it has no usable `@id`"),
        ('@id("x") @limit_row("5")', "unknown annotation `@limit_row`"),
        ('@id("x") @mask("last:4")', "`@mask` has no effect here"),
        ('@id("x") @limit_rows("0")', "`@limit_rows` is a whole number from 1 to 999999999, not `0`"),
        ('@id("x") @limit_bytes', "`@limit_bytes` is a whole number from 1 to 999999999, not ``"),
        ('@id("x") @timeout("1h")', "`@timeout` is a number of seconds up to one day, such as `30s`, not `1h`"),
    ],
)
def test_annotations_are_checked_at_load(head: str, said: str) -> None:
    assert [p.message for p in problems(f'{head} permit (principal in Role::"r", action, resource);')] == [said]


def test_a_term_on_a_forbid_is_refused_because_it_would_do_nothing() -> None:
    found = problems(PERMIT + '@id("f") @limit_rows("5") forbid (principal, action, resource);')
    assert [(p.policy, p.message) for p in found] == [("f", "`@limit_rows` on a forbid has no effect")]


@pytest.mark.parametrize("scope", ["principal", "principal is Agent"])
def test_a_permit_for_everyone_is_refused(scope: str) -> None:
    (found,) = problems(f'@id("x") permit ({scope}, action, resource) when {{ principal in Role::"r" }};')
    assert found.message in ("it permits every principal", "it permits every agent")
    assert found.hint == 'say whom it permits: `principal in Role::"analyst"`'


def test_a_forbid_may_be_for_everyone() -> None:
    assert set(PolicySet.parse({"f": PERMIT + '@id("f") forbid (principal, action, resource);'}).policies) == {"p", "f"}


def test_a_template_is_refused() -> None:
    assert [p.message for p in problems('@id("x") permit (principal == ?principal, action, resource);')] == [
        "templates are not supported"
    ]


@pytest.mark.parametrize(
    "broken",
    [
        'permit (principal in Role::"r", action, resource)',
        'permit (principal in [Role::"r"], action, resource);',
        'permit (principal in Role::"r", action, resource) when { "open };',
        'permit (principal in Role::"r", action, resource) when { 1 + };',
        "\ufeff",
        "nonsense",
    ],
)
def test_text_that_is_no_policy_is_refused_with_its_file_and_line(broken: str) -> None:
    found = problems(PERMIT + "\n" + broken)
    assert [(p.file, p.line) for p in found] == [("f.cedar", 4)]
    assert found[0].message.startswith("it cannot be parsed: ")


@pytest.mark.parametrize(
    "condition",
    [
        "(" * 5000 + "true" + ")" * 5000,
        "[" * 21 + "1" + "]" * 21 + " == [1]",
        "(" * 5000,
        "!" * 5000 + "true",
        "if true then " * 5000 + "true" + " else false" * 5000,
        " && ".join(['resource.name == "x"'] * 20_000),
        "resource" + ".name" * 20_000 + ' == "x"',
    ],
    ids=["brackets", "sets", "open", "not", "if", "and", "dots"],
)
def test_nesting_that_would_overflow_the_parser_is_refused_before_it_is_parsed(condition: str) -> None:
    """Cedar's parser has no bound: each of these but the second ends the process with a segmentation fault."""
    text = f'@id("x") permit (principal in Role::"r", action == Action::"read", resource) when {{ {condition} }};'
    assert {(p.line, p.message) for p in problems(text)} == {(1, "it nests or chains too much")}


def test_a_policy_may_compare_with_a_long_list() -> None:
    names = ", ".join(f'"name{number}"' for number in range(5000))
    condition = f"[{names}].contains(resource.name)"
    text = f'@id("x") permit (principal in Role::"r", action == Action::"read", resource) when {{ {condition} }};'
    assert set(PolicySet.parse({"f": text}).policies) == {"x"}


@pytest.mark.parametrize(
    ("scope", "said"),
    [
        ('principal in Rolle::"r", action, resource', "unrecognized entity type `Rolle`"),
        ('principal in Role::"r", action == Action::"write", resource', 'unrecognized action `Action::"write"`'),
        ('principal in Role::"r", action == Action::"call", resource is Table', "unable to find an applicable action"),
    ],
)
def test_a_scope_outside_the_vocabulary_is_refused(scope: str, said: str) -> None:
    assert any(said in p.message for p in problems(f'@id("x") permit ({scope});'))


def test_an_id_that_is_used_twice_is_refused_with_both_places() -> None:
    found = problems(PERMIT, "\n" + PERMIT)
    assert found == [Problem("g.cedar", 2, "p", "its `@id` is already used in f.cedar:1")]
    assert str(found[0]) == "g.cedar:2: policy `p`: its `@id` is already used in f.cedar:1"


def test_every_problem_of_every_file_is_reported_at_once() -> None:
    found = problems('@id("a") permit (principal, action, resource);', '@id("b") @x forbid (principal, action, resource);')
    assert [(p.file, p.policy) for p in found] == [("f.cedar", "a"), ("g.cedar", "b")]


def test_a_set_without_any_policy_is_refused() -> None:
    assert [p.message for p in problems("// nothing here\n")] == ["there is no policy"]
    with pytest.raises(PolicyError, match="there is no policy"):
        PolicySet.parse({})
