"""Settings of an extension that the servers of the tests do not have; of the others see the doctor on real databases."""

import pytest

from ostiary_tools.datasources.value_logging import logs_under


@pytest.mark.parametrize(
    ("settings", "logs"),
    [
        ({"pgaudit.log": "read", "pgaudit.role": "", "pgaudit.log_parameter": "on"}, True),
        ({"pgaudit.log": "none", "pgaudit.role": "auditor", "pgaudit.log_parameter": "on"}, True),
        ({"pgaudit.log": "none", "pgaudit.role": "", "pgaudit.log_parameter": "on"}, False),
        ({"pgaudit.log": "read", "pgaudit.role": "auditor", "pgaudit.log_parameter": "off"}, False),
        ({}, False),
    ],
)
def test_audits_of_classes_and_those_by_a_role_log_values_where_they_log_parameters(settings: dict[str, str], logs: bool):
    fixes = [each.fix("agent") for each in logs_under(settings)]
    assert fixes == (['ALTER ROLE "agent" SET pgaudit.log_parameter = off;'] if logs else [])
