"""How numbers, tables and names are written."""
