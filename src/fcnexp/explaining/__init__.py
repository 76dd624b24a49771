"""Figures and tables that explain a net."""
