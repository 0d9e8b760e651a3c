"""A ready drop-in for a device that was found: its table in TOML, written only where it replaces nothing."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from edgegw.problems import GatewayError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


def table(name: str, keys: Mapping[str, Any], about: str) -> str:
    """`[sensor.NAME]` with these keys in their order, under a comment line for each line of `about`."""
    comments = "".join(f"# {line}\n" for line in about.splitlines())
    return (
        comments + f"[sensor.{name}]\n" + "".join(f"{key} = {_value(each)}\n" for key, each in keys.items())
    )


def write(file: Path, text: str, check: Callable[[], object]) -> None:
    """Write a new drop-in, durably; it is taken back when `check` raises, which then is what is raised.

    GatewayError: EG-REFUSED when the file is there already, EG-PERMISSION, EG-FILE.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("x") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
    except FileExistsError:
        raise GatewayError(
            "EG-REFUSED",
            f"{file} is there already",
            why="It may hold a sensor that somebody configured.",
            todo=("give the sensor another id", f"or remove it first: rm {file}"),
            safe="nothing was changed",
        ) from None
    except PermissionError as error:
        raise GatewayError("EG-PERMISSION", f"{file} cannot be written: {error.strerror}") from error
    except OSError as error:
        raise GatewayError("EG-FILE", f"{file} cannot be written: {error.strerror or error}") from error
    try:
        check()
    except BaseException:
        file.unlink()
        raise


def _value(value: Any) -> str:
    """A value in TOML: texts, numbers, truth values and lists are written as in JSON."""
    return json.dumps(value, ensure_ascii=False)
