"""What an operation costs, what was spent, what may be spent. The pure part imports no torch."""
