"""The service on a host: recordings for good, kept within limits, and what goes with them.

Top: combines wiring and edges for the commands agent and dump.
"""
