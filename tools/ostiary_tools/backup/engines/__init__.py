"""The kinds of backup, each with the programs that make it."""
