"""Encrypts or decrypts its standard input to its standard output with age: a program of its own, started by `encryption`.

pyrage holds the interpreter's lock while it works, so within the server it would hold up everything else, and be held up by
it. Keys come through an inherited descriptor, never as arguments. It ends with 0 only after the last byte was written.

Nothing else of this package is imported, so that it starts in a few hundredths of a second.
"""

import os
import sys

PIECE = 256 << 10
DAMAGED = 3
"""Its exit code where what it is given is no age file for these keys, whole and unaltered."""


def main(what: str, keys: int) -> int:
    """Run it."""
    import pyrage  # an extra

    with open(keys, encoding="ascii") as file:
        lines = file.read().split()
    source, sink = open(0, "rb", buffering=PIECE), open(1, "wb", buffering=PIECE)  # noqa: SIM115 -- descriptors
    if what == "encrypt":
        pyrage.encrypt_io(source, sink, [pyrage.x25519.Recipient.from_str(line) for line in lines])
    else:
        try:
            pyrage.decrypt_io(source, sink, [pyrage.x25519.Identity.from_str(line) for line in lines])
        except pyrage.DecryptError:
            return DAMAGED
        except OSError as error:
            if error.errno is None:  # pyrage's own, of the middle of a file, and not the system's
                return DAMAGED
            raise
    sink.flush()
    return 0


if __name__ == "__main__":
    os._exit(main(sys.argv[1], int(sys.argv[2])))
