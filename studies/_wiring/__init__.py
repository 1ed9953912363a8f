"""Wiring that is learnt: what studies and benchmarks of proximity add to the package's layers."""
