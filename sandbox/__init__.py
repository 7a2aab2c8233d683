"""A SmartAPI server on loopback: HTTP, market feed, order feed, an exchange behind them; faults on demand."""
