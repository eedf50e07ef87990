"""The plan for the worst day: how it stands (`ostiary dr report`), and what is then to be done (`ostiary dr runbook`)."""
