"""Readers: every data set becomes one `InteractionLog`."""
