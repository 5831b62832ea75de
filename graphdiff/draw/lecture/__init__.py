"""What lectures show: symbols, partial derivatives, trace tables, sums over paths."""
