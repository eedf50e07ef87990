"""The write-ahead log of clusters, kept segment by segment in a repository."""
