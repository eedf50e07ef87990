"""Who is calling: credentials of a transport in, a principal out. Nothing here reads a call's arguments."""
