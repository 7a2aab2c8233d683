"""The bus: an embedded or given Redis/Valkey, signed signals on a stream, quotes on a channel."""
