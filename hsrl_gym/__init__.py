"""Slate recommendation environments on learned users."""
