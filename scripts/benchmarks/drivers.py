"""Table: how fast each installed driver decodes what its devices say."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from edgegw import registry
from scripts.benchmarks.table import Table, number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scripts.benchmarks.bench import Bench

_HEAD = ("driver", "kind", "devices, inputs", "frames/s", "µs/frame", "slowest device", "at most", "headroom")


def drivers(bench: Bench) -> Table:
    """A line for each driver, by name: the median of its devices, and the slowest one beside what can come at most."""
    found = bench.program("decoding", 0.2 if bench.sizes.both else 0.02)
    lines = [
        _line(name, [each for each in found if each["driver"] == name])
        for name in sorted({each["driver"] for each in found})
    ]
    method = (
        "frames a CPU second, best of three runs, median of a driver's devices: framing and decoding for what is on a "
        "serial line, decoding for the rest; seconds of it for sound"
    )
    limits = (
        "`at most`: what the line, the air or the shortest interval lets through; `headroom`: the rate over that, for "
        "the device where it is smallest"
    )
    notes = [method, limits]
    notes += [f"{each['label']}: {each['why']}" for each in found if ";" in each["why"]]
    unmeasured = sorted({*registry.names()} - {each["driver"] for each in found})
    if unmeasured:
        notes.append(f"no known input gives a reading by itself: {', '.join(unmeasured)}")
    return Table("drivers", _HEAD, lines, notes)


def _line(name: str, found: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    middle = statistics.median(each["per_s"] for each in found)
    slowest = min(found, key=lambda each: float(each["per_s"]))
    limited = [each for each in found if each["most"]]
    tightest = min(limited, key=lambda each: float(each["per_s"] / each["most"]), default=None)
    return (
        name,
        found[0]["kind"],
        f"{len(found)}, {sum(each['inputs'] for each in found)}",
        number(middle),
        number(1e6 / middle),
        f"{slowest['label'].removeprefix(name).strip('-') or name}: {number(slowest['per_s'])}",
        f"{number(tightest['most'])} ({tightest['why'].partition(';')[0]})" if tightest else "",
        f"{number(tightest['per_s'] / tightest['most'])} x" if tightest else "",
    )
