"""Figures and pages. Knows results, not how they were made."""
