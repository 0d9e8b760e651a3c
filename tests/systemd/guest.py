"""Inside a booted Debian: proves that the gateway's unit works under all its restrictions.

Started by rig.service as root. Each proof is a function whose name is the sentence that is printed; they run
in their order. Waiting is polling with a generous deadline.
"""

from __future__ import annotations

import sys
import time
import traceback

from systemd.rig import PROOFS, run
from systemd.world import prepare

from systemd import kinds, life, rights

ORDER = [module.__name__ for module in (rights, life, kinds)]


def say(text: str) -> None:
    """A line of the report, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def prove() -> int:
    """Run the proofs up to the first that fails (the next ones need it); 1 when one failed."""
    prepare()
    for check in sorted(PROOFS, key=lambda each: ORDER.index(each.__module__)):
        began = time.monotonic()
        sentence = check.__name__.replace("_", " ")
        try:
            check()
        except Exception:  # noqa: BLE001 - whatever a proof raises is its failure
            say(f"FAIL {sentence}\n{traceback.format_exc()}")
            say(run("journalctl", "--priority=info", "--lines=100", "--no-pager", "--output=short-monotonic"))
            return 1
        say(f"ok   {sentence} ({time.monotonic() - began:.1f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(prove())
