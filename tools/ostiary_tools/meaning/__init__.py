"""Finding things of a schema by what their words mean, where the extra `vector` is installed."""
