"""Comparisons in numbered pieces, for machines that share nothing but a folder."""
