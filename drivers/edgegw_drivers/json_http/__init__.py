"""Any device that says its values in JSON over HTTP, fetched or pushed, by a TOML map."""

from edgegw_drivers.json_http.driver import JsonHttp

__all__ = ["JsonHttp"]
