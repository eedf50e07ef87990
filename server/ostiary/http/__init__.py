"""The server over HTTP: one application, served by one process or several."""
