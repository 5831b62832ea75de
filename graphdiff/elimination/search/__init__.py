"""The search for orders of elimination that cost little."""
