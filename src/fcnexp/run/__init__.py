"""One run: its folder, stages, processes, Trainer and loggers."""
