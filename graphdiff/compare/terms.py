"""What the report speaks of: the modes, the columns of its table, the bound on gradients."""

__all__ = ["CHEAP_GRADIENT", "COLUMNS", "MODES"]

MODES = ("finite differences", "forward", "batched forward", "reverse", "batched reverse", "elimination")

CHEAP_GRADIENT = 5.0
"""Reverse mode takes at most 4 to 5 times the function's operations (Baur and Strassen 1983; Griewank and Walther,
Evaluating Derivatives, 2nd ed. 2008, section 3.3)."""

COLUMNS = ("mode", "measured µs", "± µs", "predicted µs", "flops", "transc.", "kB moved", "peak kB", "error")
