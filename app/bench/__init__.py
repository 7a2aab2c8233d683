"""The project's own measurements, each beside its floor of the same run."""
