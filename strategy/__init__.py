"""Market data in, signals out; knows no orders."""
