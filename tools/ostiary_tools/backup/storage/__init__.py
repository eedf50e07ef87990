"""Where a repository's files lie."""
