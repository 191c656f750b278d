"""What all parts use: the server, the work, the tables. Knows no client."""
