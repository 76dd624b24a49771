"""Fast ways of computing what the nets say, beside the nets' definitions, each with a switch."""
