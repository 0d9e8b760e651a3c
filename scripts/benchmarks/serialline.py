"""Modbus RTU devices on a pty, in a process of their own, so that their work is not the gateway's.

`python -m scripts.benchmarks.serialline` prints the path as JSON and answers for every unit until it is stopped, as fast
as it can: a pty has no baud rate.
"""

from __future__ import annotations

import json
import os
import pty
import tty

from edgegw.simulate.modbus_slave import RTU_REQUEST, answer_pdu, crc
from scripts.benchmarks.responders import VALUES


def main() -> None:
    """Serve for ever."""
    ours, theirs = pty.openpty()
    tty.setraw(ours)
    print(json.dumps(os.ttyname(theirs)), flush=True)
    heard = b""
    while True:
        heard += os.read(ours, 4096)
        while len(heard) >= RTU_REQUEST:
            request, heard = heard[:RTU_REQUEST], heard[RTU_REQUEST:]
            answer = request[:1] + answer_pdu(request[1:-2], lambda register: VALUES[register % 4])
            os.write(ours, answer + crc(answer))


if __name__ == "__main__":
    main()
