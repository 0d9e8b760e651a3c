"""`python -m edgegw.contract NAME… [--write]`: hold installed drivers to the contract, without pytest."""

from __future__ import annotations

import sys

from edgegw.contract import ContractError, rules, subject, tables
from edgegw.registry import DriverError


def write(name: str) -> bool:
    """Write the tables of a driver's README as the code has them; whether that changed anything."""
    found = subject(name)
    file = found.folder / "README.md"
    old = file.read_text(encoding="utf-8")
    new = tables.written(found.kind, found.kind.quantities, old) if found.kind.quantities else old
    if new != old:
        file.write_text(new, encoding="utf-8")
    return new != old


def main(arguments: list[str]) -> int:
    """0 when every driver keeps to the contract, 1 when one does not, 2 when nothing can be said."""
    names = [word for word in arguments if word != "--write"]
    if not names or any(name.startswith("-") for name in names):
        print(f"usage: {(__doc__ or '').splitlines()[0]}", file=sys.stderr)  # noqa: T201 -- a program
        return 2
    broken = 0
    try:
        for name in names:
            if "--write" in arguments and write(name):
                print(f"{name}: README.md written")  # noqa: T201 -- a program
            for rule in rules(name):
                said = rule.broken(subject(name))
                broken += bool(said)
                print(f"{'broken' if said else 'ok    '}  {name}: {rule}")  # noqa: T201 -- a program
                for sentence in said:
                    print(f"        {sentence}")  # noqa: T201 -- a program
    except (DriverError, ContractError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 -- a program
        return 2
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
