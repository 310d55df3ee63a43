"""The chat itself: pairing, messages, review, duty. Knows nothing of Starlette."""
