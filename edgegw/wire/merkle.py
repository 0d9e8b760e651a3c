"""The Merkle tree of RFC 9162 §2.1 over SHA-256, in memory of logarithmic size.

A `Range` is the minimal list of complete subtrees over leaves [begin, end): enough to append, to compute
roots and to prove consistency, whatever the size of the log.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = sha256().digest()
# RFC 9162 trees of the wire have 64-bit sizes, so no proof is longer than this.
MAX_PATH: Final = 64


def leaf_hash(entry: bytes) -> bytes:
    """Hash of a leaf: SHA-256(0x00 ‖ entry)."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node: SHA-256(0x01 ‖ left ‖ right)."""
    return sha256(b"\x01" + left + right).digest()


class _Node(NamedTuple):
    """A complete subtree: leaves [place·2^level, (place+1)·2^level)."""

    level: int
    place: int


def _subtrees(begin: int, end: int) -> list[_Node]:
    """The complete subtrees that minimally cover [begin, end), from left to right."""
    left: list[_Node] = []
    right: list[_Node] = []
    level = 0
    while begin < end:
        if begin & 1:
            left.append(_Node(level, begin))
            begin += 1
        if end & 1 and begin < end:
            end -= 1
            right.append(_Node(level, end))
        begin >>= 1
        end >>= 1
        level += 1
    return left + right[::-1]


class Range(NamedTuple):
    """Hashes of the complete subtrees that minimally cover leaves [begin, end), from left to right."""

    begin: int
    end: int
    hashes: tuple[bytes, ...]

    @classmethod
    def empty(cls, at: int = 0) -> Range:
        """The range [at, at)."""
        return cls(at, at, ())

    @classmethod
    def of_leaves(cls, begin: int, leaves: Sequence[bytes]) -> Range:
        """The range that starts at index `begin` and has these leaf hashes."""
        left: list[bytes] = []
        right: list[bytes] = []
        nodes = list(leaves)
        first = begin
        while nodes:
            if first & 1:
                left.append(nodes.pop(0))
                first += 1
            if len(nodes) & 1:
                right.append(nodes.pop())
            nodes = [
                sha256(b"\x01" + one + two).digest() for one, two in zip(nodes[::2], nodes[1::2], strict=True)
            ]
            first >>= 1
        return cls(begin, begin + len(leaves), tuple(left + right[::-1]))

    @classmethod
    def checked(cls, begin: int, end: int, hashes: Iterable[object]) -> Range:
        """A range from untrusted parts; ValueError when the hashes are not as many or as long as they must be."""
        listed = tuple(hashes)
        if not 0 <= begin <= end < 1 << 64 or len(listed) != len(_subtrees(begin, end)):
            raise ValueError("a compact range of another size")
        found = tuple(h for h in listed if isinstance(h, bytes) and len(h) == HASH_BYTES)
        if len(found) != len(listed):
            raise ValueError("a hash of another length")
        return cls(begin, end, found)

    def join(self, other: Range) -> Range:
        """This range followed by one that begins where it ends."""
        if other.begin != self.end:
            raise ValueError("ranges that do not touch")
        stack = list(zip(_subtrees(self.begin, self.end), self.hashes, strict=True))
        for node, digest in zip(_subtrees(other.begin, other.end), other.hashes, strict=True):
            while stack and stack[-1][0] == (node.level, node.place - 1) and node.place & 1:
                digest = node_hash(stack.pop()[1], digest)  # noqa: PLW2901 -- it climbs
                node = _Node(node.level + 1, node.place >> 1)  # noqa: PLW2901 -- it climbs
            stack.append((node, digest))
        return Range(self.begin, other.end, tuple(digest for _, digest in stack))

    def root(self) -> bytes:
        """Root of the tree of `end` leaves; the range must begin at 0."""
        if self.begin:
            raise ValueError("only a range from 0 has a root")
        if not self.hashes:
            return EMPTY_ROOT
        digest = self.hashes[-1]
        for left in self.hashes[-2::-1]:
            digest = node_hash(left, digest)
        return digest


def consistency_path(old: Range, added: Range) -> list[bytes]:
    """Proof (RFC 9162 §2.1.4.1) that the tree of `old` is a prefix of `old` followed by `added`.

    `old` is the range [0, m), `added` the range [m, n). Empty when m is 0 or n.
    """
    if old.end in (0, added.end):
        return []
    known: dict[tuple[int, int], bytes] = {}
    for part in (old, added):
        for node, digest in zip(_subtrees(part.begin, part.end), part.hashes, strict=True):
            known[node.place << node.level, (node.place + 1) << node.level] = digest

    def tree_hash(begin: int, end: int) -> bytes:
        if (begin, end) in known:
            return known[begin, end]
        middle = begin + _split(end - begin)
        return node_hash(tree_hash(begin, middle), tree_hash(middle, end))

    path: list[bytes] = []
    begin, end, whole = 0, added.end, True
    while end != old.end:
        middle = begin + _split(end - begin)
        if old.end <= middle:
            path.append(tree_hash(middle, end))
            end = middle
        else:
            path.append(tree_hash(begin, middle))
            begin, whole = middle, False
    if not whole:
        path.append(tree_hash(begin, end))
    return path[::-1]


def _split(count: int) -> int:
    """The largest power of two below `count` (`k` of RFC 9162 §2.1.1); `count` is at least 2."""
    return 1 << ((count - 1).bit_length() - 1)


def consistent(old_size: int, new_size: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]) -> bool:
    """Whether `path` proves that the old tree is a prefix of the new one (RFC 9162 §2.1.4.2)."""
    if not 0 < old_size <= new_size or len(path) > MAX_PATH + 1:
        return False
    if old_size == new_size:
        return not path and old_root == new_root
    if not path:
        return False
    nodes = list(path)
    if old_size & (old_size - 1) == 0:
        nodes.insert(0, old_root)
    left, right = old_size - 1, new_size - 1
    while left & 1:
        left >>= 1
        right >>= 1
    old = new = nodes[0]
    for node in nodes[1:]:
        if right == 0:
            return False
        if left & 1 or left == right:
            old, new = node_hash(node, old), node_hash(node, new)
            while not left & 1 and left:
                left >>= 1
                right >>= 1
        else:
            new = node_hash(new, node)
        left >>= 1
        right >>= 1
    return right == 0 and old == old_root and new == new_root


def inclusion_path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """Proof (RFC 9162 §2.1.3.1) for leaf `index` of the tree that has exactly these leaf hashes."""
    if not 0 <= index < len(leaves):
        raise ValueError("no such leaf")
    if len(leaves) == 1:
        return []
    middle = _split(len(leaves))
    if index < middle:
        sibling, path = leaves[middle:], inclusion_path(leaves[:middle], index)
    else:
        sibling, path = leaves[:middle], inclusion_path(leaves[middle:], index - middle)
    return [*path, Range.of_leaves(0, sibling).root()]


def included(index: int, size: int, leaf: bytes, root: bytes, path: Sequence[bytes]) -> bool:
    """Whether `path` proves that `leaf` stands at `index` of the tree of `size` (RFC 9162 §2.1.3.2)."""
    try:
        return root_above(index, size, leaf, path) == root
    except ValueError:
        return False


def root_above(index: int, size: int, leaf: bytes, path: Sequence[object]) -> bytes:
    """The root that an inclusion path leads to; ValueError when its shape is wrong for this index and size."""
    if not 0 <= index < size or len(path) > MAX_PATH or len(leaf) != HASH_BYTES:
        raise ValueError("no such leaf")
    position, last, digest = index, size - 1, leaf
    for node in path:
        if last == 0 or not isinstance(node, bytes) or len(node) != HASH_BYTES:
            raise ValueError("no such path")
        if position & 1 or position == last:
            digest = node_hash(node, digest)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            digest = node_hash(digest, node)
        position >>= 1
        last >>= 1
    if last:
        raise ValueError("the path is too short")
    return digest
