"""The published vectors, where they lie beside the checkout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

STANDARDS = Path(__file__).parents[3] / "shared" / "vectors" / "standards"

needed = pytest.mark.skipif(
    not STANDARDS.is_dir(), reason="the published vectors (../shared/vectors) do not lie beside this checkout"
)


def load(name: str) -> Any:
    """A JSON file of the published vectors; an empty list when they are not there."""
    path = STANDARDS / name
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


def names(pattern: str) -> list[str]:
    """The published files that match, relative to their folder."""
    return sorted(str(path.relative_to(STANDARDS)) for path in STANDARDS.glob(pattern))
