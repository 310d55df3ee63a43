"""Forms of the ports in `peerchat.ports`; one contract suite checks them all."""
