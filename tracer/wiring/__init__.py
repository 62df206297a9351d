"""From options to sources, sessions and views: what several commands share.

Top: combines the edges. May import everything but commands.
"""
