"""Proof that nothing is lost, doubled or guessed: kills, crash points, faults, mutants, simulation.

For development only: works on stores marked `proof` and on endpoints on loopback.
"""
