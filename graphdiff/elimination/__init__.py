"""The ways between forward and reverse mode: vertices, edges and faces are eliminated from the computational graph."""
