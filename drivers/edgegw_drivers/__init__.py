"""The drivers that ship with the gateway: one folder per device family, found through entry points."""
