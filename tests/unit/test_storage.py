from __future__ import annotations

from pathlib import Path

import pytest

from edgegw.storage import volatile

MOUNTS = """\
22 1 8:2 / / rw,relatime shared:1 - ext4 /dev/mmcblk0p2 rw
23 22 0:20 / /run rw,nosuid shared:2 - tmpfs tmpfs rw,size=100k
24 22 0:21 / /var/lib/memory\\040disk rw shared:3 - tmpfs tmpfs rw
25 22 0:22 / /opt rw shared:4 - overlay overlay rw,lowerdir=/a,upperdir=/b
26 22 0:23 / /srv rw shared:5 - tmpfs tmpfs rw
27 26 8:3 / /srv rw shared:6 - ext4 /dev/sda1 rw
broken line
"""


@pytest.mark.parametrize(
    ("directory", "kind"),
    [
        ("/var/lib/edgegw", ""),
        ("/run/edgegw", "tmpfs"),
        ("/runner", ""),
        ("/var/lib/memory disk/edgegw", "tmpfs"),
        ("/opt/edgegw", "overlay"),
        ("/srv/edgegw", ""),
    ],
)
def test_the_innermost_mount_decides(directory: str, kind: str) -> None:
    assert volatile(Path(directory), MOUNTS) == kind


def test_this_machine_answers() -> None:
    assert isinstance(volatile(Path("/dev/shm")), str)
