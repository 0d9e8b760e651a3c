"""Any device that says its values in JSON on a local broker, by a TOML map."""

from edgegw_drivers.json_mqtt.driver import JsonMqtt

__all__ = ["JsonMqtt"]
