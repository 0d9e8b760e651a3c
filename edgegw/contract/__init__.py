"""What every driver keeps to, whoever wrote it: the rules, for the tests of a driver's own package.

    from edgegw import contract


    @pytest.mark.parametrize("rule", contract.rules("breeze"), ids=str)
    def test_the_driver_keeps_to_the_contract(rule):
        assert rule.broken(contract.subject("breeze")) == []

`python -m edgegw.contract breeze` does the same without pytest, and writes the tables of the README with `--write`.
Nothing of the gateway imports this package: it is for whoever writes a driver.
"""

from __future__ import annotations

from typing import Final

from edgegw.contract import devices, inputs, papers, streams
from edgegw.contract.rule import Rule
from edgegw.contract.subject import ContractError, Fact, Subject, read_facts, subject

__all__ = [
    "DECODING",
    "PAPERS",
    "RULES",
    "ContractError",
    "Fact",
    "Rule",
    "Subject",
    "read_facts",
    "rules",
    "subject",
]

#: Rules about a driver's folder and what its class says, which hold once for a driver.
PAPERS: Final = papers.RULES
#: Rules about what it decodes, which hold for each of its devices.
DECODING: Final = (*inputs.RULES, *streams.RULES, *devices.RULES)
RULES: Final = (*PAPERS, *DECODING)


def rules(name: str) -> list[Rule]:
    """The rules for an installed driver; registry.DriverError or ContractError when it cannot be tested at all."""
    found = subject(name)
    return [rule for rule in RULES if rule.is_for(found)]
