"""Configs: composed, checked, typed by a schema, and identified by a digest."""
