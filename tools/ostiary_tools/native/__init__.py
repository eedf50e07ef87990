"""A caller's policy as what PostgreSQL itself keeps for a login: grants of columns, and row security. Pure: values and text."""
