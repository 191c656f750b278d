"""The part "async": clients on an event loop. `part` says which do which works, `rounds` measures, `report` prints."""
