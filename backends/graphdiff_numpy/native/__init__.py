"""Plans as C: a program lowered to loops and products, written out as one function, compiled and called."""
