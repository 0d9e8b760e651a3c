"""Nothing is left of those who were counted: not in memory, not on disk, not in what is said or sent.

A gateway counts in a process of its own; its memory is read from outside once the window has closed. What is sent
over MQTT are the sealed batches, byte by byte as they lie in the store.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

CHILD = Path(__file__).parents[1] / "presence_child.py"
SENDERS = 60
# How many of them are also looked for by their hashes, each in some hundred forms.
HASHED = 2
# Bytes of a hash that are looked for: a truncated one is found by its beginning.
TRUNCATED = 8


def crowd() -> list[bytes]:
    """Resolvable private addresses with one beginning, so that all of them are found by looking for it."""
    stem = bytes((0x40 | secrets.randbelow(0x40),)) + secrets.token_bytes(3)
    return [
        stem + number.to_bytes(2, "big") for number in secrets.SystemRandom().sample(range(1 << 16), SENDERS)
    ]


def spelled(octets: bytes) -> list[bytes]:
    """An address, or its beginning, in every form in which somebody may write it, both byte orders."""
    found = []
    for order in (octets, octets[::-1]):
        for sign in (":", "-", "_", ""):
            text = order.hex(sign) if sign else order.hex()
            found += [
                text.encode(),
                text.upper().encode(),
                text.encode("utf-16-le"),
                text.upper().encode("utf-16-le"),
            ]
    return found


def hashed(octets: bytes) -> Iterator[bytes]:
    """Beginnings of the hashes that people take of addresses, as they are and in hexadecimal."""
    forms = [octets, octets[::-1]]
    forms += [form for form in spelled(octets) if b"\0" not in form]
    for form in forms:
        for digest in (
            hashlib.md5(form).digest(),
            hashlib.sha1(form).digest(),
            hashlib.sha256(form).digest(),
            hmac.digest(b"", form, "sha256"),
            hmac.digest(bytes(32), form, "sha256"),
            hashlib.blake2b(form, digest_size=TRUNCATED).digest(),
            hashlib.blake2b(form).digest(),
            hashlib.blake2b(form, key=bytes(32), digest_size=TRUNCATED).digest(),
        ):
            yield digest[:TRUNCATED]
            yield digest[:TRUNCATED].hex().encode()


def traces(image: bytes, people: list[bytes]) -> set[str]:
    """What of these addresses is in an image of memory or a file, in words."""
    stem = people[0][:4]
    found = {f"written as {text!r}" for text in spelled(stem) if text in image}
    for raw, name in (
        (re.escape(stem) + b"(?s:..)", "in order"),
        (b"(?s:..)" + re.escape(stem[::-1]), "reversed"),
    ):
        for match in re.finditer(raw, image):
            octets = match[0] if name == "in order" else match[0][::-1]
            found |= {f"raw, {name}"} if octets in people else set()
    for octets in people[:HASHED]:
        found |= {f"hashed as {needle!r}" for needle in hashed(octets) if needle in image}
    return found


def memory(process: int) -> bytes:
    """What a process can write to: its heap, stacks and anonymous memory."""
    parts = []
    maps = Path(f"/proc/{process}/maps").read_text().splitlines()
    with Path(f"/proc/{process}/mem").open("rb", buffering=0) as image:
        for line in maps:
            where, mode, *_ = line.split()
            if not mode.startswith("rw"):
                continue
            begin, end = (int(part, 16) for part in where.split("-"))
            try:
                image.seek(begin)
                parts.append(image.read(end - begin) or b"")
            except OSError:
                continue  # the kernel's own pages ([vvar]) cannot be read
    return b"\0".join(parts)


def counted(directory: Path, people: list[bytes], **env: str) -> tuple[str, bytes, bytes]:
    """What a gateway said while it counted them, its memory after that, and what it logged."""
    with (directory / "log").open("wb") as log:
        child = subprocess.Popen(
            [sys.executable, str(CHILD), str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, "PYTHONPATH": str(CHILD.parent), **env},
        )
    assert child.stdin is not None
    assert child.stdout is not None
    with child:
        child.stdin.write(b"".join(people))
        child.stdin.flush()
        said = []
        for line in child.stdout:
            said.append(line.decode())
            if line == b"closed\n":
                break
        else:
            pytest.fail((directory / "log").read_text())
        try:
            image = memory(child.pid)
        except PermissionError:
            child.kill()
            pytest.skip("this machine lets nobody read the memory of a child process")
        child.stdin.write(b"\n")
        child.stdin.close()
        assert child.wait(120) == 0
    return "".join(said), image, (directory / "log").read_bytes()


def test_the_window_gives_an_index_and_leaves_no_trace_of_an_address(tmp_path: Path) -> None:
    people = crowd()
    said, image, log = counted(tmp_path, people)
    assert f"('presence_index', {SENDERS}, " in said, "it has counted them"
    assert len(image) > 1 << 20, "and its memory was really read"
    assert b"presence_index" in image
    assert traces(image, people) == set()
    assert traces(said.encode() + log, people) == set()
    stored = [file.read_bytes() for file in tmp_path.iterdir() if file.is_file()]
    assert any(b"presence_index" in file for file in stored), "the sealed batch is there"
    for file in stored:
        assert traces(file, people) == set()


def test_who_keeps_addresses_is_found_out(tmp_path: Path) -> None:
    people = crowd()
    _, image, _ = counted(tmp_path, people, HOARD="1")
    assert any("written as" in trace for trace in traces(image, people))


@pytest.mark.parametrize("form", ["text", "raw", "reversed", "hash", "key"])
def test_every_form_is_found_where_it_is(form: str) -> None:
    people = crowd()
    one = people[1]
    image = {
        "text": one.hex("-").encode(),
        "raw": one,
        "reversed": one[::-1],
        "hash": hashlib.sha256(one.hex(":").upper().encode()).digest()[:TRUNCATED],
        "key": hmac.digest(b"", one, "sha256"),
    }[form]
    assert traces(secrets.token_bytes(1000) + image + bytes(1000), people)


DROPPED = """
import os
from edgegw.sensing.overwrite import overwrite_freed_texts
stem = bytearray(4)
os.readv(0, [stem])
texts = [":".join(f"{octet:02X}" for octet in (*stem, number >> 8, number & 255)) for number in range(2000)]
# Every second one is kept and replaced, so that no block is given back as a whole.
texts[::2] = [text.swapcase()[::-1].replace(":", ";") for text in texts[::2]]
texts = texts[::2]
stem[:] = bytes(4)
os.write(1, b"d")
os.read(0, 1)
overwrite_freed_texts()
os.write(1, b"o")
os.read(0, 1)
"""


def test_freed_addresses_lie_in_memory_until_they_are_overwritten() -> None:
    stem = crowd()[0][:4]
    text = stem.hex(":").upper().encode()
    with subprocess.Popen(
        [sys.executable, "-c", DROPPED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(stem)
        assert child.stdout.read(1) == b"d"
        try:
            before = memory(child.pid).count(text)
        except PermissionError:
            child.kill()
            pytest.skip("this machine lets nobody read the memory of a child process")
        child.stdin.write(b"\n")
        assert child.stdout.read(1) == b"o"
        after = memory(child.pid).count(text)
        child.stdin.write(b"\n")
    assert before > 500
    assert after == 0
