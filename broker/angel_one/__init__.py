"""Angel One over its SmartAPI: wire, session, REST, market feed, order feed, instruments."""
