"""The command line: parse, ask, print. What is decided lives below."""
