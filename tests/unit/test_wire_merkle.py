from __future__ import annotations

import base64
from hashlib import sha256

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pymerkle import InmemoryTree, verify_consistency
from wire_facts import published

from edgegw.wire import merkle
from edgegw.wire.merkle import Range

# The 8-leaf tree of the Certificate Transparency tests: leaf inputs, and the root at each size from 0.
REFERENCE_LEAVES = [
    bytes.fromhex(leaf)
    for leaf in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
REFERENCE_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def entries(count: int) -> list[bytes]:
    return [sha256(i.to_bytes(4)).digest()[: i % 30] for i in range(count)]


def leaves(count: int) -> list[bytes]:
    return [merkle.leaf_hash(entry) for entry in entries(count)]


def theirs(count: int) -> InmemoryTree:
    tree = InmemoryTree(algorithm="sha256")
    for entry in entries(count):
        tree.append_entry(entry)
    return tree


def subproof(m: int, part: list[bytes], whole: bool) -> list[bytes]:
    # RFC 9162 §2.1.4.1, word for word.
    n = len(part)
    if m == n:
        return [] if whole else [root(part)]
    k = 1 << ((n - 1).bit_length() - 1)
    if m <= k:
        return [*subproof(m, part[:k], whole), root(part[k:])]
    return [*subproof(m - k, part[k:], False), root(part[:k])]


def root(part: list[bytes]) -> bytes:
    # RFC 9162 §2.1.1, word for word, over leaf hashes.
    if len(part) == 1:
        return part[0]
    k = 1 << ((len(part) - 1).bit_length() - 1)
    return sha256(b"\x01" + root(part[:k]) + root(part[k:])).digest()


def hashes(values: list[str] | None) -> list[bytes]:
    return [base64.b64decode(value) for value in values or []]


@pytest.mark.parametrize("size", range(9))
def test_the_reference_tree_of_certificate_transparency_has_its_roots(size: int) -> None:
    hashed = [merkle.leaf_hash(entry) for entry in REFERENCE_LEAVES[:size]]
    assert Range.of_leaves(0, hashed).root().hex() == REFERENCE_ROOTS[size]


@published.needed
def test_the_reference_tree_is_the_published_one() -> None:
    vector = published.load("merkle/rfc6962-reference.json")
    assert vector["leaf_inputs_hex"] == [leaf.hex() for leaf in REFERENCE_LEAVES]
    assert vector["root_hashes_hex_by_size"] == REFERENCE_ROOTS


@published.needed
def test_all_98_published_consistency_proofs_are_judged_right() -> None:
    vectors = published.load("merkle/consistency.json")
    for vector in vectors:
        (old, new), path = hashes([vector["root1"], vector["root2"]]), hashes(vector["proof"])
        found = merkle.consistent(vector["size1"], vector["size2"], old, new, path)
        assert found == (not vector["wantErr"]), vector["source"]
    assert len(vectors) == 98


@published.needed
def test_all_98_published_inclusion_proofs_are_judged_right() -> None:
    vectors = published.load("merkle/inclusion.json")
    for vector in vectors:
        (leaf, root), path = hashes([vector["leafHash"], vector["root"]]), hashes(vector["proof"])
        found = merkle.included(vector["leafIdx"], vector["treeSize"], leaf, root, path)
        assert found == (not vector["wantErr"]), vector["source"]
    assert len(vectors) == 98


@given(st.integers(1, 300))
@settings(max_examples=40)
@example(1)
@example(256)
def test_roots_are_those_of_pymerkle(size: int) -> None:
    assert Range.of_leaves(0, leaves(size)).root() == theirs(size).get_root()


@given(st.integers(1, 200).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size - 1))))
@settings(max_examples=60)
def test_inclusion_paths_are_those_of_pymerkle(place: tuple[int, int]) -> None:
    size, index = place
    proof = theirs(size).prove_inclusion(index + 1)
    ours = leaves(size)
    path = merkle.inclusion_path(ours, index)
    assert proof.path == [ours[index], *path]
    root = Range.of_leaves(0, ours).root()
    assert merkle.included(index, size, ours[index], root, path)
    for wrong in (index - 1, index + 1, size, -1):
        if wrong != index:
            assert not merkle.included(wrong, size, ours[index], root, path)
    assert not merkle.included(index, size, ours[index], root, [*path, root])
    assert not path or not merkle.included(index, size, ours[index], root, path[:-1])


@given(st.integers(1, 200).flatmap(lambda size: st.tuples(st.integers(1, size), st.just(size))))
@settings(max_examples=60)
@example((128, 200))
@example((7, 7))
def test_consistency_paths_are_those_of_the_rfc_and_pymerkle_agrees_on_both_roots(
    sizes: tuple[int, int],
) -> None:
    old_size, size = sizes
    ours = leaves(size)
    old, added = Range.of_leaves(0, ours[:old_size]), Range.of_leaves(old_size, ours[old_size:])
    path = merkle.consistency_path(old, added)
    assert path == subproof(old_size, ours, True)
    new, tree = old.join(added), theirs(size)
    # pymerkle lists its nodes otherwise when the old size splits the tree, so each side proves to the other.
    verify_consistency(
        old.root(), new.root(), tree.prove_consistency(old_size, size), old_size, size, "sha256"
    )
    assert merkle.consistent(old_size, size, tree.get_root(old_size), tree.get_root(size), path)
    assert not merkle.consistent(old_size, size, new.root(), new.root(), path) or old_size == size
    assert not merkle.consistent(old_size, size, old.root(), new.root(), [*path, new.root()])
    assert not path or not merkle.consistent(old_size, size, old.root(), new.root(), path[:-1])
    for i in range(len(path)):
        bent = [*path[:i], sha256(path[i]).digest(), *path[i + 1 :]]
        assert not merkle.consistent(old_size, size, old.root(), new.root(), bent)


@given(st.lists(st.integers(0, 40), min_size=1, max_size=8), st.integers(0, 1 << 40))
def test_ranges_join_to_the_range_of_all_their_leaves(counts: list[int], begin: int) -> None:
    all_leaves = leaves(sum(counts))
    joined, at = Range.empty(begin), 0
    for count in counts:
        joined = joined.join(Range.of_leaves(begin + at, all_leaves[at : at + count]))
        at += count
    assert joined == Range.of_leaves(begin, all_leaves)
    assert joined == Range.checked(begin, begin + at, list(joined.hashes))


@given(st.integers(0, 1 << 53), st.integers(0, 1 << 20))
def test_a_range_is_logarithmic_in_its_length(begin: int, count: int) -> None:
    held = merkle._subtrees(begin, begin + count)
    assert len(held) <= 2 * max(1, count).bit_length()
    assert sum(1 << node.level for node in held) == count


def test_ranges_that_do_not_touch_do_not_join() -> None:
    with pytest.raises(ValueError, match="touch"):
        Range.of_leaves(0, leaves(3)).join(Range.of_leaves(4, leaves(1)))


def test_only_a_range_from_the_beginning_has_a_root() -> None:
    with pytest.raises(ValueError, match="from 0"):
        Range.of_leaves(1, leaves(1)).root()
    assert Range.empty().root() == merkle.EMPTY_ROOT == sha256(b"").digest()


@pytest.mark.parametrize(
    ("begin", "end", "listed"),
    [
        (0, 3, [b"\0" * 32]),
        (0, 3, [b"\0" * 32] * 3),
        (0, 1, [b"\0" * 31]),
        (0, 1, [b"\0" * 33]),
        (0, 1, ["0" * 32]),
        (0, 1, [None]),
        (2, 1, []),
        (-1, 0, [b"\0" * 32]),
        (0, 1 << 64, [b"\0" * 32]),
        (0, 0, [b"\0" * 32]),
    ],
)
def test_a_range_from_untrusted_parts_has_the_right_hashes_or_is_refused(
    begin: int, end: int, listed: list[object]
) -> None:
    with pytest.raises(ValueError, match=r"size|length"):
        Range.checked(begin, end, listed)


def test_no_path_of_any_length_makes_a_proof_slow_or_right() -> None:
    node = b"\0" * 32
    for count in (0, 1, merkle.MAX_PATH, merkle.MAX_PATH + 1, 100_000):
        path = [node] * count
        assert not merkle.consistent(5, 1 << 52, node, node, path)
        assert not merkle.included(5, 1 << 52, node, node, path)


@pytest.mark.parametrize("index", [-1, 5, 6])
def test_there_is_no_path_for_a_leaf_that_is_not_there(index: int) -> None:
    with pytest.raises(ValueError, match="no such leaf"):
        merkle.inclusion_path(leaves(5), index)
