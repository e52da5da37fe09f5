"""The command line: one module per command or group of commands, each imported only when it is used."""
