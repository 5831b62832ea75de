"""Which way is taken to a Jacobian: rows, columns, elimination, or only what is not zero."""
