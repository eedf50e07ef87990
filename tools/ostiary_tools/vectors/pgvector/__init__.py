"""Collections in a PostgreSQL database with the extension vector."""
