"""Items: semantic IDs, the trie of the live ones, and the vectors they are made of."""
