"""The reviewed list of built-ins, as data."""

import re

from ostiary_tools.sql.inventory import FUNCTIONS, REFUSED_FUNCTIONS, RESERVED_TYPES, TYPES


def test_no_function_is_both_allowed_and_refused():
    assert not FUNCTIONS & REFUSED_FUNCTIONS.keys()


def test_no_type_is_both_allowed_and_reserved():
    assert not TYPES & RESERVED_TYPES


def test_what_reaches_past_the_rows_is_not_allowed():
    reaching = re.compile(
        r"pg_(read|ls_|stat_|advisory|try|sleep|terminate|cancel|reload|rotate|logical|create|drop|switch|walfile|get|relation|log|export|notify)"
        r"|lo_|.*_to_xml|.*_to_xmlschema|dblink|nextval|setval|currval|lastval|set_config|current_setting|has_.*_privilege|txid|binary_upgrade|ts_stat|ts_rewrite"
    )
    assert [name for name in sorted(FUNCTIONS) if reaching.match(name)] == []
