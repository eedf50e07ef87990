"""RFC 6962 Merkle trees over the records of a stream: a tree that grows, and proofs from it.

A leaf is a record's chain hash. `Peaks` holds the roots of the perfect subtrees of
what was added so far, so adding costs two hashes and needs no history. Pure.
"""

from collections.abc import Sequence
from hashlib import sha256

EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf that holds `data`."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of a node over two subtrees."""
    return sha256(b"\x01" + left + right).digest()


class Peaks:
    """The perfect subtrees of the first `size` leaves, largest first."""

    __slots__ = ("hashes", "size")

    def __init__(self, size: int = 0, hashes: Sequence[bytes] = ()) -> None:
        if len(hashes) != size.bit_count():
            raise ValueError(f"{len(hashes)} subtrees cannot hold {size} leaves")
        self.size = size
        self.hashes = list(hashes)

    def add(self, leaf: bytes) -> None:
        """Add the next leaf's hash."""
        hashes, size = self.hashes, self.size
        while size & 1:
            leaf = sha256(b"\x01" + hashes.pop() + leaf).digest()
            size >>= 1
        hashes.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """The root over all leaves added so far."""
        if not self.hashes:
            return EMPTY_ROOT
        root = self.hashes[-1]
        for left in self.hashes[-2::-1]:
            root = node_hash(left, root)
        return root

    def copy(self) -> "Peaks":
        """These peaks, to grow apart from here."""
        return Peaks(self.size, self.hashes)

    def packed(self) -> bytes:
        """As stored in `audit.checkpoint.peaks`."""
        return b"".join(self.hashes)

    @classmethod
    def unpacked(cls, size: int, packed: bytes) -> "Peaks":
        """From the stored form. Raises ValueError when it does not fit the size."""
        if len(packed) % 32:
            raise ValueError("the stored subtrees are cut")
        return cls(size, [packed[at : at + 32] for at in range(0, len(packed), 32)])


class Tree:
    """All leaves after `sealed`, and the peaks of what was sealed: enough for proofs about the leaves it has."""

    def __init__(self, sealed: Peaks, leaves: Sequence[bytes]) -> None:
        self.size = sealed.size + len(leaves)
        self._first = sealed.size
        self._leaves = leaves
        self._known: dict[tuple[int, int], bytes] = {}
        at = 0
        for bit, peak in zip(_bits(sealed.size), sealed.hashes, strict=True):
            self._known[at, at + bit] = peak
            at += bit

    def root(self, size: int) -> bytes:
        """The root of the first `size` leaves."""
        return self._subtree(0, size) if size else EMPTY_ROOT

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """PATH of RFC 6962, 2.1.1: the audit path of leaf `index` in the first `size` leaves."""
        return self._path(index, 0, size)

    def consistency(self, old: int, size: int) -> list[bytes]:
        """PROOF of RFC 6962, 2.1.2: that the first `size` leaves continue the first `old`."""
        return [] if old in (0, size) else self._subproof(old, 0, size, whole=True)

    def _subtree(self, start: int, end: int) -> bytes:
        if (start, end) in self._known:
            return self._known[start, end]
        if end - start == 1:
            if start < self._first:
                raise LookupError(f"record {start + 1} is sealed: its leaf is in the export of its partition")
            return self._leaves[start - self._first]
        middle = start + _split(end - start)
        found = node_hash(self._subtree(start, middle), self._subtree(middle, end))
        self._known[start, end] = found
        return found

    def _path(self, index: int, start: int, end: int) -> list[bytes]:
        if end - start == 1:
            return []
        middle = start + _split(end - start)
        if index < middle:
            return [*self._path(index, start, middle), self._subtree(middle, end)]
        return [*self._path(index, middle, end), self._subtree(start, middle)]

    def _subproof(self, old: int, start: int, end: int, *, whole: bool) -> list[bytes]:
        if old == end:
            return [] if whole else [self._subtree(start, end)]
        middle = start + _split(end - start)
        if old <= middle:
            return [*self._subproof(old, start, middle, whole=whole), self._subtree(middle, end)]
        return [*self._subproof(old, middle, end, whole=False), self._subtree(start, middle)]


def _split(count: int) -> int:
    """The largest power of two smaller than `count`."""
    return 1 << ((count - 1).bit_length() - 1)


def _bits(size: int) -> list[int]:
    return [1 << bit for bit in range(size.bit_length() - 1, -1, -1) if size >> bit & 1]
