"""`edgegw receive`: wires store, keys and link, and runs them until a signal comes."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from cryptography import x509
from cryptography.x509.oid import NameOID

from edgegw import keys, tls
from edgegw.clock import SystemClock
from edgegw.linkfailure import LinkFailure
from edgegw.problems import Exit, GatewayError
from edgegw.receive import opening
from edgegw.receive.desk import Desk, Speaker
from edgegw.receive.keyfolder import KeyFolder
from edgegw.receive.link import Link
from edgegw.receive.notes import Note, Voice
from edgegw.receive.upstream_store import UpstreamStore
from edgegw.wire import log

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import TextIO

    from edgegw.clock import Clock
    from edgegw.config import Reference

T = TypeVar("T")

_RANDOM: Final = random.SystemRandom().random

#: Seconds between two looks at what is due.
TICK_S: Final = 1.0
#: Seconds between two lines of progress, for a script and for a person.
PROGRESS_S: Final = {True: 1.0, False: 60.0}


@dataclass(frozen=True, kw_only=True)
class ReceiveOptions:
    """What `edgegw receive` is told; names as in `[receive]`.

    `keys` is the folder with `<gateway>.pem`, `store` is `sqlite:///PATH`, `pen` the private enterprise number in
    the URN of this store, `json` whether JSON lines are written instead of sentences.
    """

    server: tls.Server
    ca: Reference
    cert: Reference
    key: Reference
    keys: Path
    signing_key: Reference
    store: str
    prefix: str = "edgegw/1"
    accept_simulated: bool = False
    json: bool = False
    pen: int = 32473


async def receive(
    options: ReceiveOptions,
    *,
    data: TextIO | None = None,
    talk: TextIO | None = None,
    clock: Clock | None = None,
) -> int:
    """Receive until SIGTERM (exit code 0) or SIGINT (130): what arrived by then is stored, acknowledged, receipted.

    JSON lines go to `data` (standard output), sentences to `talk` (standard error). For the main thread. Raises
    GatewayError for keys and certificates that cannot be used (exit 8), a store that cannot be opened or written
    (9) or options that make no sense (2). A broker that is away is waited for.
    """
    voice = Voice(data or sys.stdout, talk or sys.stderr, as_json=options.json)
    clock = clock or SystemClock()
    path = opening.locate(options.store)
    files = _files(options)
    name = _common_name(files.certificate)
    speaker = Speaker(log.urn(options.pen, name), keys.signer(options.signing_key, os.environ))
    folder = _folder(options.keys)
    with ThreadPoolExecutor(1, "upstream store") as pool:
        work = Work(pool)
        store = await work(partial(UpstreamStore, path))
        try:
            for note in await work(folder.look):
                voice.say(note)
            desk = await work(
                partial(
                    Desk,
                    store,
                    folder,
                    speaker,
                    clock,
                    prefix=options.prefix,
                    accept_simulated=options.accept_simulated,
                    random=_RANDOM,
                )
            )
            link = Link(options.server, files, name, options.prefix, desk, work, voice, clock)
            return await _serve(link, _Ticker(desk, link, work, voice, clock, as_json=options.json))
        finally:
            await work(store.close)


class Work:
    """Runs one call after the other in the thread that owns the store."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool

    async def __call__(self, job: Callable[[], T]) -> T:
        """The result of `job`, or what it raised."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, job)


class _Ticker:
    """Does what is due once a second, with or without a broker."""

    def __init__(
        self, desk: Desk, link: Link, work: Work, voice: Voice, clock: Clock, *, as_json: bool
    ) -> None:
        self._desk = desk
        self._link = link
        self._work = work
        self._voice = voice
        self._clock = clock
        self._period = PROGRESS_S[as_json]
        self._said: Note | None = None

    async def run(self) -> None:
        """Tick until cancelled."""
        due = self._clock.monotonic()
        while True:
            self._link.absorb(await self._work(self._desk.tick))
            if self._clock.monotonic() >= due:
                due += self._period
                await self.progress()
            await self._clock.sleep(TICK_S)

    async def progress(self) -> None:
        """Say where the store stands; to a person only when that changed."""
        note = await self._work(self._desk.progress)
        if self._period <= TICK_S or note != self._said:
            self._voice.say(note)
        self._said = note


async def _serve(link: Link, ticker: _Ticker) -> int:
    """Run both until a signal comes; the exit code."""
    loop = asyncio.get_running_loop()
    code = Exit.DONE

    def heard(signum: int) -> None:
        nonlocal code
        code = Exit.INTERRUPTED if signum == signal.SIGINT else Exit.DONE
        link.stop()

    signals = (signal.SIGTERM, signal.SIGINT)
    for signum in signals:
        loop.add_signal_handler(signum, heard, signum)
    tasks = [asyncio.create_task(link.run()), asyncio.create_task(ticker.run())]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for signum in signals:
            loop.remove_signal_handler(signum)
    await ticker.progress()
    return code


def _files(options: ReceiveOptions) -> tls.TlsFiles:
    """Where the TLS files lie, once they are known to work together."""
    keys.load_private(options.key, os.environ)  # a key that others can read is refused
    files = tls.TlsFiles(*(keys.locate(file, os.environ) for file in (options.ca, options.cert, options.key)))
    try:
        tls.client_context(files)
    except LinkFailure as failure:
        raise GatewayError(
            "EG-IDENTITY-CERTIFICATE",
            failure.what,
            why="The receiver needs a certificate for clients, its key, and the authority of the broker, all PEM.",
            todo=("check --ca, --cert and --key, or the same under [receive]",),
        ) from failure
    return files


def _common_name(path: Path) -> str:
    """The CN of a certificate: who the broker's access list sees, and who the receipts are from."""
    try:
        subject = x509.load_pem_x509_certificate(keys.read_public(path)).subject
        names = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return str(names[0].value)
    except (ValueError, IndexError):
        raise GatewayError(
            "EG-IDENTITY-CERTIFICATE",
            f"{path} is no certificate with a common name",
            why="The CN is the name of the receiver in its receipts.",
            todo=("check --cert, or cert under [receive]",),
        ) from None


def _folder(path: Path) -> KeyFolder:
    if not path.is_dir():
        raise GatewayError(
            "EG-IDENTITY-MISSING",
            f"{path} is not a directory",
            why="The keys of the gateways that may speak lie there, one file <gateway>.pem each.",
            todo=(
                f"mkdir -p {path}",
                f"on each gateway: edgegw identity show --public-key, into {path}/<gateway>.pem",
            ),
        )
    return KeyFolder(path)
