"""`HSRL-Ads-v0`: one advertisement a request, out of recalled candidates, from a market that turns over daily."""
