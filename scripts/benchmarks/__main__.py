"""`scripts/bench`: measure, print one table, write JSON. A missed aim is printed and fails nothing."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from edgegw.problems import GatewayError
from scripts.benchmarks import machine
from scripts.benchmarks.bench import FULL, QUICK, Bench
from scripts.benchmarks.disk import disk
from scripts.benchmarks.drain import drain, memory
from scripts.benchmarks.drivers import drivers
from scripts.benchmarks.durable import durable
from scripts.benchmarks.exchange import exchange
from scripts.benchmarks.polled import idle, polled
from scripts.benchmarks.start import start
from scripts.benchmarks.street import street
from scripts.benchmarks.table import Table, render

if TYPE_CHECKING:
    from collections.abc import Callable

    from scripts.benchmarks.table import Row

ROWS: dict[str, Callable[[Bench], list[Row] | Table]] = {
    "durable": durable,
    "drain": drain,
    "polled": polled,
    "exchange": exchange,
    "memory": memory,
    "disk": disk,
    "start": start,
    "idle": idle,
    "drivers": drivers,
    "cabinet": street,
}


def main() -> int:
    """Run the rows that were asked for; 0 when they could be measured."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that it works")
    parser.add_argument("--only", metavar="ROW", action="append", choices=ROWS, help=f"of {', '.join(ROWS)}")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the rows there too")
    # /var/tmp is on a disk by its definition (FHS 5.15); /tmp may be memory, where durability costs nothing.
    parser.add_argument(
        "--directory", type=Path, default=Path("/var/tmp"), help="a directory on the disk to measure"
    )
    given = parser.parse_args()
    rows: list[Row] = []
    tables: list[Table] = []
    with tempfile.TemporaryDirectory(prefix="edgegw-bench-", dir=given.directory) as name:
        directory = Path(name)
        bench = Bench(directory, QUICK if given.quick else FULL)
        described = machine.described(directory)
        for key, measure in ROWS.items():
            if not given.only or key in given.only:
                print(f"measuring {key} …", file=sys.stderr, flush=True)
                try:
                    found = measure(bench)
                except GatewayError as error:
                    print(error.text(), file=sys.stderr)
                    return int(error.exit_code)
                if isinstance(found, Table):
                    tables.append(found)
                else:
                    rows += found
    print(render(rows, described, tables))
    if given.json:
        document = {
            "machine": described,
            "quick": given.quick,
            "rows": [row.as_dict() for row in rows],
            "tables": [table.as_dict() for table in tables],
        }
        given.json.write_text(json.dumps(document, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
