"""Decode rate of every installed driver, in this process alone: CPU, not time.

`python -m scripts.benchmarks.decoding SECONDS`, with `tests` on PYTHONPATH, prints a list of devices as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any, Final

from scripts.benchmarks.known import works

if TYPE_CHECKING:
    from scripts.benchmarks.known import Work

#: The best of so many runs: what disturbs only ever makes it slower.
RUNS: Final = 3


def measured(work: Work, seconds: float) -> dict[str, Any]:
    """Frames a CPU second of the best run."""
    work.turn()
    best = 0.0
    for _ in range(RUNS):
        done, began = 0.0, time.process_time()
        while (took := time.process_time() - began) < seconds:
            done += work.turn()
        best = max(best, done / took)
    return {
        "driver": work.driver,
        "kind": work.kind,
        "label": work.label,
        "inputs": work.inputs,
        "per_s": best,
        "most": work.most,
        "why": work.why,
    }


if __name__ == "__main__":
    print(json.dumps([measured(work, float(sys.argv[1])) for work in works()]))
