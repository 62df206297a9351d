"""Questions about events in SQL, answered by DuckDB: tables of recordings, and conditions on every stream.

Top: combines recordings with the library, for commands.
"""
