"""Signals in, orders out; keeps the books."""
