"""One process running one physical graph."""
