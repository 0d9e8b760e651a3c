"""What a program did to the files of one directory, read from strace: writes with their bytes, syncs, names.

Only what can be said exactly is taken; a system call that changes a file in another way, a cut string or a line that
cannot be read is a TraceError, never a guess. strace is told to print every string in hexadecimal (`-xx`) and the
path behind every descriptor (`-y`), see strace(1).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

# Longer than any write of the store: a page and its frame header are 4 KiB, a `write` of Python's at most 1 MiB.
_STRING_BYTES: Final = 4 << 20
_UNDERSTOOD: Final = frozenset(
    [
        "open",
        "openat",
        "creat",
        "pwrite64",
        "write",
        "lseek",
        "ftruncate",
        "truncate",
        "fsync",
        "fdatasync",
        "rename",
        "renameat",
        "renameat2",
        "unlink",
        "unlinkat",
    ]
)
# They change files too. The store does not use them: where one comes, the model must be taught first.
_REFUSED: Final = frozenset(
    [
        "pwritev",
        "pwritev2",
        "writev",
        "fallocate",
        "copy_file_range",
        "sendfile",
        "splice",
        "link",
        "linkat",
        "symlink",
        "symlinkat",
    ]
)


class TraceError(ValueError):
    """A trace that cannot be read exactly; the text holds the line."""


class Write(NamedTuple):
    """Bytes at an offset of a file."""

    file: int
    offset: int
    data: bytes


class Truncate(NamedTuple):
    """A file cut, or grown with zeros, to `size`."""

    file: int
    size: int


class Sync(NamedTuple):
    """A sync of a file that returned: what was done to it before operation `began` is durable, or lost if it failed."""

    file: int
    began: int
    failed: bool = False


class DirectorySync(NamedTuple):
    """A sync of the directory that returned: the names as of operation `began` are durable."""

    began: int


class Name(NamedTuple):
    """One change of names, all of it or nothing: `gone` is no more, `made` is the file. Either may be empty."""

    gone: str
    made: str
    file: int


class Mark(NamedTuple):
    """A line that the program wrote about itself."""

    text: str


Operation = Write | Truncate | Sync | DirectorySync | Name | Mark


class Trace(NamedTuple):
    """The files that were there before, by name and by number, and everything that was done since."""

    before: Mapping[str, bytes]
    operations: Sequence[Operation]


def command(trace: Path, *more: str) -> list[str]:
    """What to put before a command; `more` are further options of strace."""
    return [
        *("strace", "--follow-forks", "--decode-fds=path"),
        *(
            "-xx",
            f"--string-limit={_STRING_BYTES}",
            "--quiet=attach,personality,thread-execve",
        ),
        # A name that this machine's architecture does not have is no mistake: `?`.
        f"--trace={','.join(f'?{name}' for name in sorted(_UNDERSTOOD | _REFUSED))}",
        f"--output={trace}",
        *more,
    ]


@cache
def why_not() -> str:
    """Why nothing can be traced here, for a skip; empty where it can."""
    if shutil.which("strace") is None:
        return "strace is not installed: it records what is written and synchronised"
    tried = subprocess.run(
        ["strace", "--output=/dev/null", "true"], capture_output=True, text=True, check=False
    )
    return "" if tried.returncode == 0 else f"strace may not trace here: {tried.stderr.strip()[-200:]}"


def contents(directory: Path) -> dict[str, bytes]:
    """The files of a directory."""
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir()) if path.is_file()}


def read(lines: Iterable[str], directory: Path, marks: Path, before: Mapping[str, bytes]) -> Trace:
    """The operations on the files in `directory`, and the lines written to the file `marks`, in order."""
    return Trace(dict(before), _Reader(directory.resolve(), marks.resolve(), before).read(lines))


_LINE: Final = re.compile(r"(?P<pid>\d+) +(?P<rest>.*)")
_RESUMED: Final = re.compile(r"<\.\.\. \w+ resumed>(.*)")
_CALL: Final = re.compile(r"(?P<name>\w+)\((?P<args>.*)\) += (?P<result>-?\d+|\?)(?P<tail>.*)")
_STRING: Final = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')
_DESCRIPTOR: Final = re.compile(r"(?:AT_FDCWD|\d+)<((?:\\x[0-9a-f]{2})*)>")


class _Reader:
    def __init__(self, directory: Path, marks: Path, before: Mapping[str, bytes]) -> None:
        self._directory = str(directory)
        self._marks = str(marks)
        self._operations: list[Operation] = []
        # The number of the file behind a name; a name that is gone keeps it until the name is made anew.
        self._files = {name: number for number, name in enumerate(before)}
        self._there = set(before)
        self._sizes = {number: len(data) for number, data in enumerate(before.values())}
        self._at: dict[tuple[str, str], int] = {}
        self._line = ""

    def read(self, lines: Iterable[str]) -> list[Operation]:
        for call, began in self._calls(lines):
            self._take(call, began)
        return self._operations

    def _calls(self, lines: Iterable[str]) -> Iterator[tuple[str, int]]:
        """Whole calls in the order in which they returned, and how many operations there were when each began."""
        begun: dict[str, tuple[str, int]] = {}
        for line in lines:
            self._line = line[:400]
            found = _LINE.fullmatch(line.rstrip("\n"))
            if not found:
                raise TraceError(f"not a line of strace: {self._line}")
            pid, rest = found["pid"], found["rest"]
            if rest.startswith(("+++", "---")):
                continue
            if rest.endswith("<unfinished ...>"):
                begun[pid] = rest.removesuffix("<unfinished ...>").rstrip(), len(self._operations)
                continue
            resumed = _RESUMED.fullmatch(rest)
            if resumed:
                start, began = begun.pop(pid)
                yield start + resumed[1], began
            else:
                yield rest, len(self._operations)

    def _take(self, text: str, began: int) -> None:
        found = _CALL.fullmatch(text)
        if not found:
            raise TraceError(f"not a system call: {self._line}")
        name, args = found["name"], found["args"]
        paths = [_plain(match) for match in _DESCRIPTOR.findall(args)]
        strings = _STRING.findall(args)
        if any(cut for _, cut in strings):
            raise TraceError(f"a string was cut: {self._line}")
        texts = [bytes.fromhex(data.replace("\\x", "")) for data, _ in strings]
        # What strace made up with a success did not happen either.
        done = found["result"] not in ("-1", "?") and "(INJECTED)" not in found["tail"]
        if name in ("fsync", "fdatasync"):
            if done or found["result"] == "-1":
                self._sync(paths[0], began, failed=not done)
        elif name in ("write", "pwrite64", "ftruncate", "lseek"):
            if done:
                self._change(name, paths[0], args, texts, int(found["result"]))
        elif name in _REFUSED or name == "truncate":
            if done and any(self._inside(path) for path in (*paths, *map(os.fsdecode, texts))):
                raise TraceError(f"a call that the model does not know: {self._line}")
        elif done:
            self._named(name, args, texts, _plain(found["tail"][1:].partition(">")[0]))

    def _inside(self, path: str) -> str:
        """The name of a file of ours; empty for any other. SQLite's shared index is memory, not storage."""
        name = path.removeprefix(self._directory + "/")
        return "" if name == path or "/" in name or name.endswith("-shm") else name

    def _sync(self, path: str, began: int, *, failed: bool) -> None:
        name = self._inside(path)
        if path == self._directory:
            if not failed:
                self._operations.append(DirectorySync(began))
        elif name:
            self._operations.append(Sync(self._files[name], began, failed))

    def _change(self, call: str, path: str, args: str, texts: list[bytes], result: int) -> None:
        if path == self._marks:
            if call == "write":
                self._operations.extend(Mark(line) for line in texts[0].decode().splitlines())
            return
        name = self._inside(path)
        if not name:
            return
        file, key = self._files[name], (args.split("<", maxsplit=1)[0], path)
        if call == "lseek":
            self._at[key] = result
        elif call == "ftruncate":
            size = int(args.rsplit(", ", 1)[1])
            self._operations.append(Truncate(file, size))
            self._sizes[file] = size
        else:
            offset = self._at.get(key, 0) if call == "write" else int(args.rsplit(", ", 1)[1])
            data = texts[0][:result]
            self._operations.append(Write(file, offset, data))
            self._sizes[file] = max(self._sizes[file], offset + result)
            if call == "write":
                self._at[key] = offset + result

    def _named(self, call: str, args: str, texts: list[bytes], opened: str) -> None:
        if call.startswith("open") or call == "creat":
            name = self._inside(opened)
            if name:
                self._opened(name, args, call)
            return
        names = [self._inside(self._whole(args, text, number)) for number, text in enumerate(texts)]
        if call.startswith("unlink"):
            if names[0]:
                self._operations.append(Name(names[0], "", self._files[names[0]]))
                self._there.discard(names[0])
        elif any(names):
            if not all(names):
                raise TraceError(f"a file came from or went to somewhere else: {self._line}")
            self._operations.append(Name(names[0], names[1], self._files[names[0]]))
            self._there.discard(names[0])
            self._there.add(names[1])
            self._files[names[1]] = self._files[names[0]]

    def _whole(self, args: str, text: bytes, number: int) -> str:
        path = os.fsdecode(text)
        if path.startswith("/"):
            return path
        near = _DESCRIPTOR.findall(args)
        if len(near) <= number:
            raise TraceError(f"a path without its directory: {self._line}")
        return os.path.normpath(os.path.join(_plain(near[number]), path))  # noqa: PTH118 -- text, not a file

    def _opened(self, name: str, args: str, call: str) -> None:
        if name not in self._there:
            number = len(self._sizes)
            self._files[name], self._sizes[number] = number, 0
            self._there.add(name)
            self._operations.append(Name("", name, number))
        elif "O_TRUNC" in args or call == "creat":
            self._operations.append(Truncate(self._files[name], 0))
            self._sizes[self._files[name]] = 0
        descriptor_path = (f"{self._directory}/{name}",)
        for key in [key for key in self._at if key[1:] == descriptor_path]:
            del self._at[key]
        if "O_APPEND" in args:
            raise TraceError(f"a file opened for appending: {self._line}")


def _plain(escaped: str) -> str:
    return os.fsdecode(bytes.fromhex(escaped.replace("\\x", ""))) if escaped.startswith("\\x") else escaped
