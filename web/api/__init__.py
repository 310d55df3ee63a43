"""HTTP endpoints, one file for each part of the work; errors become HTTP in `problems.py` alone."""
