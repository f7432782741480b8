"""Prices on a date, each with its source: exactly one per key, or an error."""
