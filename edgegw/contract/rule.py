"""What a rule of the contract is: one sentence that holds for a driver, and the search for where it does not."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from edgegw.driver import Driver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgegw.contract.subject import Subject

#: Looks for what breaks a rule, and says it in sentences; none where the rule holds.
Check: TypeAlias = "Callable[[Subject, Random], Iterator[str]]"
#: How many sentences of one rule are worth reading.
MOST_SAID: Final = 5


class Rule(NamedTuple):
    """One rule. `kinds` are the classes that it is for; `tries` is how often it is tried with other random input."""

    name: str
    check: Check
    kinds: tuple[type[Driver], ...] = (Driver,)
    tries: int = 1

    @property
    def is_random(self) -> bool:
        """Whether other random numbers make another test of it."""
        return self.tries > 1

    def is_for(self, subject: Subject) -> bool:
        """Whether the rule is one for drivers of this kind."""
        return issubclass(subject.kind, self.kinds)

    def broken(self, subject: Subject, seed: int = 0) -> list[str]:
        """What breaks the rule, the first few sentences; the same `seed` finds the same."""
        said: list[str] = []
        for number in range(self.tries):
            for sentence in self.once(subject, Random(f"{seed} {number}")):  # noqa: S311 -- hostile input, no secret
                said.append(sentence)
                if len(said) == MOST_SAID:
                    return said
        return said

    def once(self, subject: Subject, random: Random) -> Iterator[str]:
        """What breaks the rule with these random numbers; whatever a driver raises is such a sentence too."""
        try:
            yield from self.check(subject, random)
        except Exception as error:  # noqa: BLE001 -- that nothing is raised but FrameError is what the suite is for
            notes = "; ".join(getattr(error, "__notes__", ()))
            yield f"{type(error).__name__}: {error} ({notes or 'raised by itself'})"

    def __str__(self) -> str:
        return self.name


def rule(*kinds: type[Driver], tries: int = 1) -> Callable[[Check], Rule]:
    """Make a rule of a function; its name is the rule's sentence."""

    def made(check: Check) -> Rule:
        return Rule(check.__name__.replace("_", " "), check, kinds or (Driver,), tries)

    return made
