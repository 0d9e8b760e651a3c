from __future__ import annotations

from hypothesis import HealthCheck, settings

pytest_plugins = ["broker"]

# A machine that is busy with something else is no failure: no property is given a time.
settings.register_profile(
    "edgegw", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("edgegw")
