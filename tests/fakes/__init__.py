"""Stand-ins for what the tests do not want to run, and the tiny models they share."""
