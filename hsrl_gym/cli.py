"""The `hsrl-gym` command: fetch data, build a bundle, look into one."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hsrl_gym.errors import HsrlError, open_device, unknown_name

if TYPE_CHECKING:  # the command answers at once when it has nothing to compute
    from hsrl_gym.users.fidelity import Slice, UserScore

_LOADERS = ("rl4rs", "ml1m", "ml100k", "ml-latest", "atomic", "synthetic")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 0, or 2 after one line about what was wrong."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], None] = options.command
    try:
        command(options)
    except HsrlError as error:
        print(f"hsrl-gym: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"hsrl-gym: {error.filename or 'file'}: {error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("hsrl-gym: interrupted; nothing was left half-written.", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="hsrl-gym", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    fetch = commands.add_parser("fetch", help="download a public data set into the cache folder (HSRL_DATA)")
    fetch.add_argument("name", help="ml100k, ml1m, rl4rs or kuairand-pure")
    fetch.set_defaults(command=_fetch)

    build = commands.add_parser("build", help="fit the users and the codebook to logs, and write a bundle")
    build.add_argument("format", help=f"what the logs are: {', '.join(_LOADERS)}")
    build.add_argument("--logs", type=Path, help="folder of the logs (default: where `fetch` put them)")
    build.add_argument("--out", type=Path, required=True, help="folder of the new bundle")
    build.add_argument("--shape", default="rl4rs", help="of a synthetic world: rl4rs or ml1m")
    build.add_argument("--slates", type=int, default=60_000, help="slates that a synthetic world logs")
    build.add_argument("--levels", type=int, default=3, help="levels of the semantic IDs, L")
    build.add_argument("--vocab", type=int, default=64, help="tokens of each level, V")
    build.add_argument("--codebook", default="behaviour", help="what IDs are made of: behaviour or features")
    build.add_argument(
        "--ensemble-size", type=int, default=1, help="fits that a user is the mean of; small logs need 3"
    )
    build.add_argument("--pool", type=int, default=20_000, help="logged rows kept in each user pool, at most")
    build.add_argument("--epochs", type=int, default=8, help="passes over the logs to fit a user, at most")
    build.add_argument("--seed", type=int, default=0)
    build.add_argument("--device", default="cpu", help="where the users are fitted: cpu or cuda")
    build.set_defaults(command=_build)

    inspect = commands.add_parser("inspect", help="print what is in a bundle, and draw its pictures")
    inspect.add_argument("bundle", help="folder of a bundle, or rl4rs / ml1m for those in the package")
    inspect.add_argument("--out", type=Path, help="folder for the PNGs (default: results/inspect/NAME)")
    inspect.set_defaults(command=_inspect)
    return parser


def _fetch(options: argparse.Namespace) -> None:
    from hsrl_gym.data.fetch import fetch

    print(fetch(options.name))


def _build(options: argparse.Namespace) -> None:
    from hsrl_gym.bundle.build import CODEBOOKS, build_bundle
    from hsrl_gym.bundle.folder import check_target, save_bundle
    from hsrl_gym.users.fit import FitSettings

    for name in ("slates", "levels", "vocab", "pool", "epochs", "ensemble_size"):
        if getattr(options, name) < 1:
            raise HsrlError(f"got --{name.replace('_', '-')} {getattr(options, name)}, expected at least 1.")
    if options.format not in _LOADERS:
        raise unknown_name("format", options.format, _LOADERS)
    if options.codebook not in CODEBOOKS:
        raise unknown_name("codebook", options.codebook, CODEBOOKS)
    if not 0 <= options.seed < 2**31:
        raise HsrlError(f"got --seed {options.seed}, expected 0 to {2**31 - 1}.")
    open_device(options.device)
    check_target(options.out)  # before minutes of work, not after
    log = _load(options)
    print(f"{len(log):,} logged slates of {log.slate_size}, {log.n_items:,} items, click rate {log.clicks.mean():.3f}")
    bundle = build_bundle(
        log,
        options.levels,
        options.vocab,
        options.seed,
        options.device,
        settings=FitSettings(max_epochs=options.epochs),
        pool_rows=options.pool,
        codebook=options.codebook,
        ensemble_size=options.ensemble_size,
    )
    folder = save_bundle(bundle, options.out)
    _print_bundle(bundle)
    print(f"bundle: {folder}")


def _load(options: argparse.Namespace) -> Any:
    from hsrl_gym.data.atomic import load_atomic
    from hsrl_gym.data.movielens import load_movielens
    from hsrl_gym.data.rl4rs import load_rl4rs
    from hsrl_gym.users.synthetic import SyntheticWorld

    if options.format == "synthetic":
        return SyntheticWorld(options.shape, options.seed).write_log(options.slates)
    folder = options.logs
    if folder is None:
        from hsrl_gym.data.fetch import cache_folder
        from hsrl_gym.data.sources import DATASETS

        folder = cache_folder() / options.format
        if options.format not in DATASETS or not folder.exists():
            hint = f", or run `hsrl-gym fetch {options.format}` first" if options.format in DATASETS else ""
            raise HsrlError(f"no logs were named for {options.format}; give --logs DIR{hint}.")
    if options.format == "rl4rs":
        return load_rl4rs(folder)
    if options.format == "atomic":
        return load_atomic(folder)
    log = load_movielens(folder)
    if log.name.replace("-", "") != options.format.replace("-", ""):
        raise HsrlError(f"got {log.name} in {folder}, expected {options.format}; name the format that is there.")
    return log


def _inspect(options: argparse.Namespace) -> None:
    from hsrl_gym.bundle.folder import load_bundle
    from hsrl_gym.bundle.store import PACKAGED
    from hsrl_gym.figures import draw_codebook_use, draw_fidelity, draw_reliability
    from hsrl_gym.users.fidelity import predict, score_slices, score_users

    packaged = PACKAGED / options.bundle
    folder = packaged if not Path(options.bundle).exists() and packaged.exists() else Path(options.bundle)
    bundle = load_bundle(folder)
    predicted = predict(bundle)
    slices = score_slices(bundle, predicted)
    _print_bundle(bundle)
    _print_fidelity(slices, score_users(bundle, predicted))
    out = options.out or Path("results/inspect") / folder.name
    out.mkdir(parents=True, exist_ok=True)
    draw_reliability(bundle.fidelity, out / "reliability.png")
    draw_codebook_use(bundle.codebook, out / "codebook.png")
    draw_fidelity(slices, out / "fidelity.png")
    print(f"pictures: {', '.join(str(out / name) for name in ('reliability.png', 'fidelity.png', 'codebook.png'))}")


def _print_bundle(bundle: Any) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    report = bundle.codebook.report()
    facts = Table(title=f"Bundle {bundle.name}", title_justify="left", show_header=False)
    facts.add_row("made from", bundle.source)
    facts.add_row("items, slate size", f"{bundle.n_items:,} ({report.n_items:,} live), {bundle.slate_size}")
    facts.add_row("users in the pools", ", ".join(f"{name} {len(users):,}" for name, users in bundle.users.items()))
    for name, value in bundle.provenance.items():
        facts.add_row(name.replace("_", " "), _plain(value))
    console.print(facts)

    users = Table(title="Learned users, on the latest 20% of the log", title_justify="left")
    for heading in ("user", "seen in its fit", "slates", "AUC", "log-loss", "ECE"):
        users.add_column(heading, justify="left" if heading == "user" else "right")
    for name, fidelity in bundle.fidelity.items():
        users.add_row(
            name,
            "yes" if fidelity["seen_in_fit"] else "no",
            f"{fidelity['n_slates']:,}",
            *(f"{fidelity[key]:.4f}" for key in ("auc", "log_loss", "ece")),
        )
    console.print(users)

    codes = Table(title="Semantic IDs", title_justify="left")
    for heading in ("level", "tokens", "used", "perplexity"):
        codes.add_column(heading, justify="right")
    for level, size in enumerate(bundle.codebook.vocabulary):
        codes.add_row(str(level + 1), str(size), str(report.used_tokens[level]), f"{report.perplexity[level]:.1f}")
    console.print(codes)
    console.print(
        f"{report.n_sids:,} SIDs for {report.n_items:,} items, {report.n_collisions} collisions "
        f"({report.n_moved} items were moved), reconstruction error {report.reconstruction_error:.3f}"
    )


# Of each kind of slice: what its table is headed, and its first column.
_SLICES = {
    "slot": ("by place in the slate", "slot"),
    "popularity": ("by tenths of the items, from rarely to often shown in the train pool", "tenth"),
    "history": ("by clicks in the history", "clicks"),
}


def _print_fidelity(slices: Sequence[Slice], scores: Mapping[str, UserScore]) -> None:
    """Print the learned users slice by slice, and against the true one where the bundle knows it."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    learned = [user for user in scores if user != "true"]
    for kind in dict.fromkeys(part.kind for part in slices):
        title, first = _SLICES[kind]
        table = Table(title=f"Eval pool {title} (p: mean prediction)", title_justify="left")
        headings = [f"{user}\n{what}" for user in learned for what in ("AUC", "loss", "p")]
        for heading in (first, "shown", "clicked", *headings):
            table.add_column(heading, justify="left" if heading == first else "right")
        for part in (part for part in slices if part.kind == kind):
            said = [part.scores[user] for user in learned]
            numbers = [f"{value:.3f}" for one in said for value in (one.auc, one.log_loss, one.predicted)]
            table.add_row(part.name, f"{part.n:,}", f"{part.observed:.3f}", *numbers)
        console.print(table)
    if "true" not in scores:
        return
    table = Table(title="Learned users against the true one, on the same slates", title_justify="left")
    for heading in ("user", "AUC", "log-loss", "ECE", "mean |p - p_true|"):
        table.add_column(heading, justify="left" if heading == "user" else "right")
    for user, score in scores.items():
        error = f"{score.error:.4f}" if score.error is not None else ""
        table.add_row(user, f"{score.auc:.4f}", f"{score.log_loss:.4f}", f"{score.ece:.4f}", error)
    console.print(table)


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {inner}" for name, inner in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


if __name__ == "__main__":
    sys.exit(main())
