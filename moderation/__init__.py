"""What a message says: text in, verdict out. Knows nothing of sockets, HTTP or tables."""
