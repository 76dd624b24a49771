"""Configs: composed, checked, typed, and told apart."""
