"""What make and CI call; no part of the server."""
