"""Who may do what, on what terms: pure decisions, without input or output."""
