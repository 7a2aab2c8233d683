"""Composition root and command line; the only room that knows all others."""
