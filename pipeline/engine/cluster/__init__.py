"""Ray: sessions, addresses, authentication, processes, nodes, submission."""
