"""The command line: one subcommand per file; parse, call, print."""
