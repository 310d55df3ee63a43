"""`python -m benchmarks.moderation`: what `make bench-moderation` runs."""

import sys

from benchmarks.moderation.bench import main

sys.exit(main())
