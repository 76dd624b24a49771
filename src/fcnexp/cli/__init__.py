"""The command line: Hydra around each entry point, and messages for people."""
