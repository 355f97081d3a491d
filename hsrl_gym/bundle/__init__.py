"""Bundles: everything an environment needs of a data set, in one folder."""

from hsrl_gym.bundle.folder import Bundle, load_bundle, read_manifest, save_bundle

__all__ = ["Bundle", "load_bundle", "read_manifest", "save_bundle"]
