"""The part "http": blocking clients, each in a process of its own. `rounds` measures, `report` prints."""
