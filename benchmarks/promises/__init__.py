"""What the package promises, each with the test behind it. `benchmarks/trust.py` runs them."""
