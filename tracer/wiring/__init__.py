"""From options to sources, sessions and views: what several commands share."""
