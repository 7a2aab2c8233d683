"""Venues behind one protocol."""
