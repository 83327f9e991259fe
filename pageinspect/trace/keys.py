"""What --by of trace tells apart; apart from what needs numpy, for the command line."""

KEYS = ("comm", "pid", "cpu", "order", "zone", "node", "caller")
