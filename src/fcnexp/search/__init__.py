"""Search for the best settings with Optuna, on the launchers and the ledger of sweeps."""
