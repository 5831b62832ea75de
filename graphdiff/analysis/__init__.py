"""Whether derivatives are right, and how a function bends."""
