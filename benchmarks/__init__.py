"""How fast it is, beside a bare relay measured in the same run; see docs/benchmarks.md."""
