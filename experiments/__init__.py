"""Scripts that a researcher runs: typed settings, wiring, plots. No algorithm lives here."""
