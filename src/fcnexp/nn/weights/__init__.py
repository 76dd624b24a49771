"""Where a net's weights come from."""
