"""Flagfiles, and the programs that print the paper's tables."""
