"""Readers: raw logs of any format become one `InteractionLog`."""
