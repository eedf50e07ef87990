"""The control database: connections, migrations, the tables of the audit log and of cursors."""
