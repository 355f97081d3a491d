"""Users: models of how people answer to a slate, learned from logs or synthetic."""
