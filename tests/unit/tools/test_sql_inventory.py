"""The reviewed list of built-ins, as data."""

import re

from ostiary_tools.sql.inventory import FUNCTIONS, INVENTORY, REASONS, REFUSED_FUNCTIONS, RESERVED_TYPES, TYPES, VOLATILE


def test_every_refusal_has_a_reason_in_words():
    assert set(REFUSED_FUNCTIONS.values()) <= REASONS.keys()


def test_every_allowed_function_that_is_volatile_says_why():
    assert {name for name in FUNCTIONS if INVENTORY[name].volatility == "volatile"} == VOLATILE.keys()


def test_nothing_is_left_undecided():
    assert [name for name, one in INVENTORY.items() if one.decision == "undecided"] == []


def test_no_type_is_both_allowed_and_reserved():
    assert not TYPES & RESERVED_TYPES


def test_what_reaches_past_the_rows_is_not_allowed():
    reaching = re.compile(
        r"pg_(read|ls_|stat_|advisory|try|sleep|terminate|cancel|reload|rotate|logical|create|drop|switch|walfile|get|relation|log|export|notify)"
        r"|lo_|.*_to_xml|.*_to_xmlschema|dblink|nextval|setval|currval|lastval|set_config|current_setting|has_.*_privilege|txid|binary_upgrade|mxid_age|ts_debug|ts_stat|ts_rewrite"
    )
    assert [name for name in sorted(FUNCTIONS) if reaching.match(name)] == []
