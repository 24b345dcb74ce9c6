"""Find inputs at the edges of a credit graph: beside its comparisons, kinks, poles and steps."""
