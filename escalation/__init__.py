"""Who must know, and until when. Knows nothing of sockets, HTTP or tables."""
