"""`python -m benchmarks`: what `make bench` runs."""

import sys

from benchmarks.bench import main

sys.exit(main())
