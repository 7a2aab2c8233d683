"""Nouns and seams that every room may use; imports no other room."""
