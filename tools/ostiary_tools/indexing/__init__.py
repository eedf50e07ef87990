"""Documents on their way into a collection: given ones, and rows."""
