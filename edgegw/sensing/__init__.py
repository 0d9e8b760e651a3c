"""How each kind of sensor is read: one module a kind, each a coroutine that runs until its port goes."""
