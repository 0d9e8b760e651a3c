"""What the gateway records about its sensors (WIRE §7): which driver, options and place stand behind their readings."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from edgegw import registry

if TYPE_CHECKING:
    from edgegw.config import Sensor


def sensor_event(name: str, sensor: Sensor) -> tuple[str, dict[str, object]]:
    """Value and fields of the `sensor` event (WIRE §7)."""
    try:
        driver = registry.make(sensor.driver, sensor.options)
        version, profile = driver.version, getattr(driver, "sha256", "")
    except registry.DriverError:
        version, profile = "broken", ""  # it gives no readings; the others are measured
    # A profile decides about values as much as the driver's code: its text is part of what stands behind them.
    behind = {**sensor.options, "profile_sha256": profile}
    options = json.dumps(behind, sort_keys=True, default=str)
    fields: dict[str, object] = {"sensor": name, "options": hashlib.sha256(options.encode()).hexdigest()}
    if sensor.site:
        fields["site"] = sensor.site
    if sensor.position:
        fields["position"] = list(sensor.position)
    if sensor.calibration:
        fields["calibration"] = sensor.calibration
    return f"{sensor.driver} {version}", fields
