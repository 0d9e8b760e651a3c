"""A device on one side, plain bytes or registers on the other: the only places that wait for hardware."""
