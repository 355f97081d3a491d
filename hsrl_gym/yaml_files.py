"""YAML that may come from an untrusted place: plain values in a tree, of limited size and depth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from hsrl_gym.errors import HsrlError

LARGEST = 2**20  # bytes of a file
DEEPEST = 40  # values in values
_LONGEST_NUMBER = 100  # characters of a whole number
_BEYOND = 2**63  # whole numbers are below it; larger ones are no floats, and too long to be written


class _PlainLoader(yaml.SafeLoader):
    """The safe loader without anchors, aliases and tags.

    An alias lets a few lines stand for a billion values; a tag lets a file choose how its values are read.
    """

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            raise yaml.composer.ComposerError(None, None, "it has anchors or aliases", event.start_mark)
        if event.tag is not None:
            raise yaml.composer.ComposerError(None, None, f"it has the tag {event.tag!r}", event.start_mark)
        if self.depth >= DEEPEST:
            raise yaml.composer.ComposerError(None, None, f"it is nested {DEEPEST} deep", event.start_mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _whole_number(loader: _PlainLoader, node: yaml.ScalarNode) -> int:
    # Its length first: "1:1:1.." is a number to the base 60, and a long one would take minutes.
    if len(node.value) > _LONGEST_NUMBER or abs(value := loader.construct_yaml_int(node)) >= _BEYOND:
        raise yaml.constructor.ConstructorError(None, None, "it has a whole number beyond 2^63", node.start_mark)
    return int(value)


_PlainLoader.add_constructor("tag:yaml.org,2002:int", _whole_number)


class _PlainDumper(yaml.SafeDumper):
    """The safe dumper that writes an object twice where it stands twice, as `parse_yaml` reads no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def read_yaml(path: Path) -> Any:
    """Return what a YAML file says.

    Raises:
        HsrlError: if there is none, or it cannot be read; see `parse_yaml`.
    """
    return parse_yaml(read_limited(path), path)


def read_limited(path: Path) -> bytes:
    """Return the content of a file of at most `LARGEST` bytes.

    Raises:
        HsrlError: if there is none, or it cannot be read or is larger.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except FileNotFoundError:
        raise HsrlError(f"{path}: no such file.") from None
    except OSError as error:
        raise HsrlError(f"{path}: cannot be read ({error.strerror}).") from None
    if len(content) > LARGEST:
        raise HsrlError(f"{path}: got more than {LARGEST:,} bytes, expected a file of settings.")
    return content


def parse_yaml(content: bytes, where: Path | str) -> Any:
    """Return what a YAML text says; `where` it stands is for the complaint.

    Raises:
        HsrlError: for text that is no YAML, has anchors, aliases or tags, is nested too deep, has a whole number
            beyond 2^63, or a value that no number or date can hold.
    """
    try:
        loader = _PlainLoader(content.decode("utf-8"))
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise HsrlError(f"{where}: not readable as YAML ({' '.join(str(error).split())[:200]}).") from None


def dump_yaml(content: Any, **style: Any) -> str:
    """Return plain values as YAML that `parse_yaml` reads; `style` is PyYAML's.

    Raises:
        yaml.YAMLError: for a value that is not plain, for instance a NumPy number.
    """
    return yaml.dump(content, Dumper=_PlainDumper, sort_keys=False, **style)
