"""Pictures and tables that explain a net."""
