"""Many hosts: recordings are published to a server, read from there, and archived as Parquet.

Top: combines recordings with the libraries of servers, for commands.
"""
