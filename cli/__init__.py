"""The ``smartdeal`` command: one module per subcommand, no logic of its own."""

from smartdeal.cli.main import main

__all__ = ["main"]
