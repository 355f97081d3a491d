"""Damaged bundles whose hashes are right: what a stranger could send, and no hash can refuse."""

from __future__ import annotations

import hashlib
import json
import random
import struct
from typing import Any

import yaml
from hypothesis import strategies as st

from promises.damage import FLOOD, N_FLOOD
from promises.samples import Files

MANIFEST = "bundle.yaml"
BOMB = "&a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(12)
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 80),
    st.sampled_from([2**31, 10**7, 2**63, 10**30, -(2**70)]),
    st.floats(),
    st.sampled_from(["", "x", "1", "\x1b[31m", "a\nb", "../..", FLOOD.decode() * N_FLOOD]),
    st.text(max_size=6),
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner))


def with_hashes(files: Files) -> Files:
    """Return the files with a manifest that has their hashes, unless it is no longer a manifest."""
    try:
        manifest = yaml.safe_load(files[MANIFEST])
        hashes = manifest["files"]
        for name in hashes:
            if name in files:
                hashes[name] = hashlib.sha256(files[name]).hexdigest()
    except (KeyError, TypeError, AttributeError, ValueError, yaml.YAMLError, RecursionError):
        return files
    return {**files, MANIFEST: written(manifest)}


def written(manifest: Any) -> bytes:
    """Return a manifest as it is written."""
    return yaml.safe_dump(manifest, sort_keys=False).encode()


@st.composite
def remade(draw: Any, files: Files) -> Files:
    """Draw a bundle whose manifest has another value, one key less or one more."""
    manifest = yaml.safe_load(files[MANIFEST])
    for _ in range(draw(st.sampled_from((1, 1, 2)))):
        node, depth = manifest, 0
        while True:
            key = draw(st.sampled_from(sorted(node, key=str) if isinstance(node, dict) else range(len(node))))
            depth += 1
            if isinstance(node[key], (dict, list)) and node[key] and draw(st.integers(0, 3)) and depth < 6:
                node = node[key]
                continue
            if isinstance(node, dict) and draw(st.integers(0, 4)) == 0:
                del node[key]
            else:
                node[key] = draw(VALUES)
            break
        if not manifest:
            break
    return {**files, MANIFEST: written(manifest)}


def tampered(files: Files, draw: random.Random) -> Files:
    """Return a bundle with one to three changes of its data files or of the text of its manifest."""
    result = dict(files)
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        name = draw.choice(sorted(result))
        if name.endswith(".safetensors"):
            result[name] = draw.choice((_entry, _entry, _values, _values, _header_bytes))(result[name], draw)
        elif name == MANIFEST and draw.random() < 0.3:
            result[name] = draw.choice((b"[" * 900, BOMB.encode(), b"\x80", b"- 1\n", b"schema: 3\n", b""))
        else:
            result[name] = _bytes(result[name], draw)
    return with_hashes(result)


def _bytes(content: bytes, draw: random.Random) -> bytes:
    from promises.damage import damaged

    return damaged({"file": content}, draw).get("file", b"")


def _parts(content: bytes) -> tuple[dict[str, Any], bytes]:
    length = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def _joined(header: dict[str, Any], data: bytes) -> bytes:
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def _entry(content: bytes, draw: random.Random) -> bytes:
    """Change name, type or shape of a tensor; the type and the shape keep the number of bytes if they can."""
    try:
        header, data = _parts(content)
    except (ValueError, struct.error):
        return content
    name = draw.choice(sorted(header) or [""])
    if name not in header or name == "__metadata__":
        return content
    entry = header[name]
    match draw.randrange(6):
        case 0:
            del header[name]
        case 1:
            header[draw.choice([f"{name}x", "row", "extra", "vectors", "__metadata__"])] = header.pop(name)
        case 2:
            swap = {"F32": ["I32", "U32"], "F16": ["BF16", "I16"], "U16": ["I16", "F16"], "I32": ["F32", "U32"]}
            entry["dtype"] = draw.choice(swap.get(entry["dtype"], ["BOOL", "I8", "I64", "F64"]))
        case 3:
            entry["shape"] = entry["shape"][::-1]
        case 4:
            shape = entry["shape"]
            entry["shape"] = [1, *shape] if draw.random() < 0.5 else [_product(shape)]
        case 5:
            _resize(header, name, draw)
            data = data[: max((one["data_offsets"][1] for one in header.values()), default=0)]
    return _joined(header, data)


def _product(shape: list[int]) -> int:
    product = 1
    for size in shape:
        product *= size
    return product


def _resize(header: dict[str, Any], name: str, draw: random.Random) -> None:
    """Make the last tensor shorter by a row, or empty."""
    last = max(header, key=lambda key: header[key]["data_offsets"][1] if key != "__metadata__" else -1)
    entry = header[last]
    begin, end = entry["data_offsets"]
    if entry["shape"] and entry["shape"][0]:
        row = (end - begin) // entry["shape"][0]
        n_rows = draw.choice([0, entry["shape"][0] - 1])
        entry["shape"][0], entry["data_offsets"] = n_rows, [begin, begin + row * n_rows]


def _values(content: bytes, draw: random.Random) -> bytes:
    """Change numbers of a tensor: NaN, infinite, huge, negative, out of range."""
    try:
        header, data = _parts(content)
    except (ValueError, struct.error):
        return content
    entries = [entry for key, entry in header.items() if key != "__metadata__" and entry["data_offsets"][1]]
    if not entries:
        return content
    begin, end = draw.choice(entries)["data_offsets"]
    patterns = ["0000c07f", "0000807f", "ffffff7f", "ffffffff", "00000080", "007e007e", "007c007c", "ff7fff7f", "01000000"]
    pattern = bytes.fromhex(draw.choice(patterns))
    changed = bytearray(data)
    n = len(data[begin:end]) // 4
    for place in range(n) if draw.random() < 0.2 else draw.sample(range(n), min(n, draw.choice((1, 1, 3)))):
        changed[begin + 4 * place : begin + 4 * place + 4] = pattern
    return _joined(header, bytes(changed))


def _header_bytes(content: bytes, draw: random.Random) -> bytes:
    """Change a byte of the header or of its length."""
    if len(content) < 16:
        return content
    length = min(struct.unpack("<Q", content[:8])[0], len(content) - 8)
    place = draw.randrange(8 + max(length, 1))
    return content[:place] + bytes([draw.randrange(256)]) + content[place + 1 :]
