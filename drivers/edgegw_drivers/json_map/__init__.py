"""What a JSON device says, by a map: data in TOML, shared by the drivers that fetch, take and subscribe."""
