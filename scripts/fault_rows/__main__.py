"""`scripts/faults`: run faults at length and print one table; 1 when anything was lost, doubled or wrong."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import sys
import tempfile
from pathlib import Path

from scripts import fault_rows
from scripts.fault_rows.row import ROWS, Order, Result, render


def main() -> int:
    """Run the rows that were asked for, or all of them."""
    for module in pkgutil.iter_modules(fault_rows.__path__):
        if module.name not in ("__main__", "row"):
            importlib.import_module(f"scripts.fault_rows.{module.name}")
    parser = argparse.ArgumentParser(prog="scripts/faults", description=__doc__)
    parser.add_argument(
        "--only", metavar="ROW", action="append", choices=sorted(ROWS), help=f"of {', '.join(sorted(ROWS))}"
    )
    parser.add_argument("--runs", type=int, help="how many runs of each row (default: the full figure)")
    parser.add_argument("--seed", type=int, default=20261122)
    parser.add_argument("--jobs", type=int, default=2, help="processes, where a row can use them (default 2)")
    given = parser.parse_args()
    results: list[Result] = []
    for name in given.only or sorted(ROWS):
        chosen = ROWS[name]
        missing = chosen.missing()
        if missing:
            print(f"{name} is left out: {missing}", file=sys.stderr)
            continue
        print(f"running {name} …", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory(prefix=f"edgegw-{name}-") as directory:
            order = Order(given.runs or chosen.runs, given.seed, given.jobs, Path(directory))
            results.append(chosen.run(order))
    print(render(results))
    return int(not results or any(each.lost or each.twice or each.wrong for each in results))


if __name__ == "__main__":
    sys.exit(main())
