"""Random programs, training runs, misuses and expressions, run until a difference shows: ``python -m tests.fuzz``.

Each kind makes its case `i` of a seed alone, checks it, and shrinks one that shows a difference to a short text that
can be run. `cases` has what all share, `engines` what compiled results may come from.
"""
