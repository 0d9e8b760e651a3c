"""One simulation: virtual sensors, the real daemon and, with a broker, a real link and a real receiver."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from edgegw import control
from edgegw.problems import GatewayError
from edgegw.simulate import faults, scenario
from edgegw.simulate.broker import Broker, find_mosquitto
from edgegw.simulate.children import Child, tail
from edgegw.simulate.layout import GATEWAY, STORE, Layout, configure, make_identities
from edgegw.simulate.model import VirtualSensor
from edgegw.simulate.models import MODELS
from edgegw.simulate.stage import STREET, Stage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edgegw.simulate.faults import Fault


@dataclass(frozen=True)
class Options:
    """What `edgegw simulate` was asked for.

    `directory` takes everything. `scenario` is the name of one that ships, or a TOML file; `faults` are words as
    `silent:air-1@10s+5s`, on top of the scenario's own. `duration_s` None runs until it is interrupted. `once`
    ends when each sensor has been read. `numbered` lets every value say which frame it came from, and writes
    ledgers. `broker` None takes mosquitto where it is installed; True demands it, False does without a link.
    `sensors` names models of the catalogue, in place of the usual street.
    """

    directory: Path
    scenario: str = "city-night"
    faults: tuple[str, ...] = ()
    seed: int = 1
    duration_s: float | None = None
    once: bool = False
    numbered: bool = False
    broker: bool | None = None
    sensors: tuple[str, ...] = ()


class Simulation:
    """All parts of one simulation: `start`, break what is to be broken, `stop`; also a context manager."""

    def __init__(self, options: Options) -> None:
        self.layout = Layout(options.directory.resolve())
        self._numbered = options.numbered
        self._street = _street(options.sensors)
        script, extra = _script(options, self._street)
        self.stage = Stage(
            self.layout.directory,
            script,
            seed=options.seed,
            sensors=self._street,
            faults=faults.Faults(script.fault, extra=extra, repeat_s=script.repeat, seed=options.seed),
            numbered=options.numbered,
        )
        wanted = find_mosquitto() is not None if options.broker is None else options.broker
        self.broker = Broker(self.layout.broker, GATEWAY, STORE) if wanted else None
        self._environment: dict[str, str] = {}
        self.gateway = Child(
            "gateway",
            [sys.executable, "-m", "edgegw.daemon", "--config", str(self.layout.config)],
            self.layout.log("gateway"),
            self._environment,
        )
        self.receiver = Child(
            "receiver",
            [
                sys.executable,
                "-m",
                "edgegw.cli.main",
                "receive",
                "--config",
                str(self.layout.receiver_config),
            ],
            self.layout.log("receiver"),
        )
        self._running = ExitStack()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start everything, sensors first and the gateway last; GatewayError when a part does not come up."""
        make_identities(self.layout)
        self._running.callback(self.stage.stop)
        self.stage.start()
        self._environment |= self.stage.environment
        server = ""
        if self.broker is not None:
            self._running.callback(self.broker.stop)
            self.broker.start()
            server = self.broker.server
        configure(self.layout, self._street, self.stage.addresses, server=server, numbered=self._numbered)
        if self.broker is not None:
            self._running.callback(self.receiver.stop)
            self.receiver.start()
        self._running.callback(self.gateway.stop)
        self.gateway.start(self.answers)

    def stop(self) -> None:
        """Stop everything in the opposite order; may be called again."""
        self._running.close()

    def status(self) -> dict[str, Any]:
        """The gateway's status document; GatewayError when it does not answer."""
        document: dict[str, Any] = control.request(self.layout.socket, "status")
        return document

    def answers(self) -> bool:
        """Whether the gateway answers on its control socket."""
        try:
            self.status()
        except GatewayError:
            return False
        return True

    def follow_script(self) -> str:
        """Take the broker away or bring it back as the script says; what was done, in words, or nothing."""
        if self.broker is None or self.broker.running != self.stage.link_down():
            return ""
        if self.broker.running:
            self.broker.kill()
            return "link down"
        self.broker.start()
        return "link up again"

    def check(self) -> None:
        """Raise GatewayError when a part has ended by itself."""
        if self.stage.failure is not None:
            raise GatewayError("EG-INTERNAL", "the virtual sensors failed", why=repr(self.stage.failure))
        children = [self.gateway] if self.broker is None else [self.gateway, self.receiver]
        for child in children:
            if not child.running:
                raise GatewayError(
                    "EG-NOT-RUNNING",
                    f"the {child.name} has ended",
                    why=tail(child.log) or "It said nothing.",
                    todo=(f"less {child.log}",),
                )


def _street(models: Sequence[str]) -> Sequence[VirtualSensor]:
    """A sensor of each named model, `MODEL-1` and so on; the usual street without any; GatewayError for no model."""
    found: list[VirtualSensor] = []
    for model in models:
        if model not in MODELS:
            raise GatewayError(
                "EG-USAGE", f"no virtual sensor {model!r}", why=f"There are {', '.join(sorted(MODELS))}."
            )
        number = sum(sensor.model == model for sensor in found) + 1
        found.append(VirtualSensor(f"{model}-{number}".replace("_", "-"), model, MODELS[model].period_s))
    return found or STREET


def _script(options: Options, street: Sequence[VirtualSensor]) -> tuple[scenario.Scenario, list[Fault]]:
    """The scenario and the extra faults; GatewayError for words that name neither."""
    try:
        script = scenario.load(options.scenario)
        extra = [faults.spoken(words) for words in options.faults]
        known = {sensor.id for sensor in street}
        # A script is written for the usual street; what it does to sensors that do not stand here is left out.
        for fault in extra if options.sensors else (*script.fault, *extra):
            if fault.sensor and fault.sensor not in known:
                raise ValueError(f"no sensor {fault.sensor!r}; there are {', '.join(sorted(known))}")
    except ValueError as error:
        raise GatewayError("EG-USAGE", str(error), todo=("edgegw simulate --help",)) from error
    return script, extra
