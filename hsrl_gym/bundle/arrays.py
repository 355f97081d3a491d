"""The arrays that the files of a bundle must have, checked by their headers before anything is read or allocated."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hsrl_gym.bundle.contents import CODEBOOK_FILE, FEATURES, SIMULATORS
from hsrl_gym.errors import HsrlError, shown
from hsrl_gym.users.ensemble import LearnedUser

MOST_TOKENS = 4096  # of a level: distances of all pairs of tokens are held in memory
_MOST_SLOTS = 1_000  # of a slate: every semantic ID has a list of so many items
_MEMBER = "members."

Header = Mapping[str, tuple[str, tuple[int, ...]]]


def read_header(path: Path) -> Header:
    """Return type (as safetensors calls it) and shape of each array in a file.

    Raises:
        HsrlError: if it is no safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            parts = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  (it is no mapping)
            return {name: (part.get_dtype(), tuple(part.get_shape())) for name, part in parts.items()}
    except SafetensorError as error:
        raise HsrlError(f"{path}: not readable as safetensors ({error}); build the bundle again.") from None


def check_vocabulary(vocabulary: int | Sequence[int]) -> None:
    """Raise HsrlError for more tokens in a level than a bundle may have."""
    most = max([vocabulary] if isinstance(vocabulary, int) else vocabulary, default=0)
    if most > MOST_TOKENS:
        raise HsrlError(f"got a vocabulary of {most}, expected at most {MOST_TOKENS} tokens a level.")


def check_slate_size(slate_size: int, n_items: int) -> None:
    """Raise HsrlError for slates of more items than a bundle may have."""
    if not 1 <= slate_size <= _most_slots(n_items):
        raise HsrlError(
            f"got slates of {slate_size:,} for {n_items:,} items, expected 1 to {_most_slots(n_items):,} items in a "
            "slate; make shorter slates of the log (--slate-size)."
        )


def check_headers(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Raise HsrlError unless codebook, users and simulators have the sizes that the manifest declares."""
    sizes = manifest["simulator"]
    _check_codebook(folder / CODEBOOK_FILE, sizes, manifest["codebook"]["n_levels"])
    slots = {_check_users(folder / f"users_{name}.safetensors", manifest) for name in SIMULATORS}
    if len(slots) > 1:
        raise HsrlError(f"{folder}: got slates of {sorted(slots)} in the two user pools, expected one size.")
    for name in SIMULATORS:
        _check_sizes(folder / f"simulator_{name}.safetensors", sizes)


def check_weights(path: Path, model: LearnedUser) -> None:
    """Raise HsrlError unless a file has the weights of a model; the model may be without storage."""
    state = {key: value for key, value in model.state_dict().items() if not key.endswith(FEATURES)}
    # `data_files` writes a single number as an array of one.
    _compare(path, read_header(path), {key: ("F32", tuple(value.shape) or (1,)) for key, value in state.items()})


def _check_codebook(path: Path, sizes: Mapping[str, Any], n_levels: int) -> None:
    header = read_header(path)
    n_rows, width = sizes["n_items"] + 1, sizes["n_item_features"]
    expected: dict[str, tuple[str, tuple[int, ...]]] = {
        "codes": ("I32", (n_rows, n_levels)),
        "features": ("F32", (n_rows, width)),
        "priority": ("F32", (n_rows,)),
        "mean": ("F32", (width,)),
        "scale": ("F32", (width,)),
    }
    vector_width = width
    if "to_vector" in header or "vectors" in header:
        vector_width = _size(header, "vectors", 1)
        expected["vectors"] = ("F32", (n_rows, vector_width))
        expected["to_vector"] = ("F32", (width, vector_width))
    if n_levels > len(header):
        raise HsrlError(f"{path}: got {len(header)} arrays, expected the centroids of {n_levels} levels.")
    for name in (f"centroids_{level}" for level in range(n_levels)):
        n_tokens = _size(header, name, 0)
        if not 1 <= n_tokens <= MOST_TOKENS:
            raise HsrlError(f"{path}: got {n_tokens} tokens in {name}, expected 1 to {MOST_TOKENS}.")
        expected[name] = ("F32", (n_tokens, vector_width))
    _compare(path, header, expected)
    if vector_width < 1:
        raise HsrlError(f"{path}: got vectors of width 0, expected at least 1; build the bundle again.")


def _check_users(path: Path, manifest: Mapping[str, Any]) -> int:
    """Return the slate size K of a pool with the right columns."""
    header, sizes, encoder = read_header(path), manifest["simulator"], manifest["profile_encoder"]
    n_rows, n_slots = _size(header, "profile", 0), _size(header, "slate", 1)
    most = _most_slots(sizes["n_items"])
    if n_rows < 1 or not 1 <= n_slots <= most:
        raise HsrlError(f"{path}: got {n_rows} slates of {n_slots}, expected at least one, of 1 to {most} items.")
    n_profile = sum(len(codes) for codes in encoder["categories"]) + len(encoder["mean"])
    if n_profile != sizes["n_profile"]:
        raise HsrlError(f"{path}: got an encoder of {n_profile} columns, expected n_profile {sizes['n_profile']}.")
    ids = "U16" if header.get("history", ("", ()))[0] == "U16" else "I32"
    expected: dict[str, tuple[str, tuple[int, ...]]] = {
        "profile": ("F16", (n_rows, n_profile)),
        "history": (ids, (n_rows, sizes["history_length"])),
        "slate": (ids, (n_rows, n_slots)),
        "clicks": ("U8", (n_rows, n_slots)),
    }
    if "row" in header:
        expected["row"] = ("I64", (n_rows,))
    _compare(path, header, expected)
    return n_slots


def _most_slots(n_items: int) -> int:
    return min(_MOST_SLOTS, n_items)


def _check_sizes(path: Path, sizes: Mapping[str, Any]) -> None:
    """Raise HsrlError unless the arrays that follow from the declared sizes alone are there, for each member.

    A model of these sizes is safe to make then. `check_weights` compares the rest with it.
    """
    header, width = read_header(path), sizes["width"]
    members = {name.split(".")[1] for name in header if name.startswith(_MEMBER)}
    if max(len(members), 1) != sizes["ensemble_size"]:
        raise HsrlError(
            f"{path}: got {max(len(members), 1)} user models, expected ensemble_size {sizes['ensemble_size']}."
        )
    expected = {
        "item_free.weight": (sizes["n_items"] + 1, width),
        "item_map.weight": (width, sizes["n_item_features"]),
        "profile_map.0.weight": (2 * width, sizes["n_profile"]),
        "topic.weight": (sizes["n_topics"], width),
    }
    prefixes = [f"{_MEMBER}{member}." for member in sorted(members)] or [""]
    for prefix in prefixes:
        own = {prefix + name: ("F32", shape) for name, shape in expected.items()}
        _compare(path, {name: got for name, got in header.items() if name in own}, own)


def _compare(path: Path, got: Header, expected: Header) -> None:
    for name in _all(expected, got):
        if got.get(name) != expected.get(name):
            raise HsrlError(
                f"{path}: got {shown(name)} {_words(got.get(name))}, expected {_words(expected.get(name))}; build the "
                "bundle again."
            )


def _all(*names: Iterable[str]) -> Iterator[str]:
    return iter(dict.fromkeys(name for some in names for name in some))


def _words(array: tuple[str, tuple[int, ...]] | None) -> str:
    return "not there" if array is None else f"{array[0]} {list(array[1])}"


def _size(header: Header, name: str, axis: int) -> int:
    """Return the size of an axis, 0 where there is none."""
    _, shape = header.get(name, ("", ()))
    return shape[axis] if len(shape) > axis else 0
