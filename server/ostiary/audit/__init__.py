"""The audit log: what is recorded, by whom it is written, how it is verified."""
