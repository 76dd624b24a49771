"""What `python -m fcnexp.bench` measures, and beside what."""
