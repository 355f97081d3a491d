"""Comparisons: one record for a method, one for a run, one for a table; the command `hsrl-agent`."""
