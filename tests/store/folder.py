"""Where the databases of tests lie: in memory where there is such a place, for a disk makes commits wait."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")


@contextmanager
def quick_folder() -> Iterator[Path]:
    """Lend a folder; what is in it goes with it."""
    here = SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="peerchat-", dir=here, ignore_cleanup_errors=True) as folder:
        yield Path(folder)
