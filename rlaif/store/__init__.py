"""The run directory: shards, typed records, events, lineage."""
