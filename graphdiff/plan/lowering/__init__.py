"""How a program becomes calls over planned memory."""
