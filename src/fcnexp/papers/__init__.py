"""Published figures, each with its source."""
