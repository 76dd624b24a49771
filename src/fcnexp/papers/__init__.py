"""Published scores with their sources."""
