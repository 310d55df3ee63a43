"""What people see: pages, sockets, HTTP, the command line. The only folder that knows Starlette."""
