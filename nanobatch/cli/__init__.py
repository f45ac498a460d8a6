"""The command line: parse, call, render. One small file per command; this package is the only door to typer."""
