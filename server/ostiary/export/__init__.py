"""Rows as files: the folder they come into, the forms they have, and the bounds they keep."""
