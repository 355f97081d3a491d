"""Environments: sessions as pure functions, and Gymnasium's single and vector form around them."""
