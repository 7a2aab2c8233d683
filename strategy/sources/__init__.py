"""Where market data comes from: recorded files, the simulated market, later a broker's feed."""
