"""Mutants of a module: copies that differ by one small mistake, which the tests should notice.

There are five kinds: a comparison, an operation, a constant, a truth value or a returned value is another one.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
EQUIVALENT = Path(__file__).with_name("equivalent.yaml")

_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_OPERATIONS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
_LEFT_OUT = ("annotation", "returns", "decorator_list", "type_params", "bases")


@dataclass(frozen=True)
class Target:
    """A module to mutate, and the tests that cover it.

    Attributes:
        name: in tables.
        path: of the module, from the root of the repository.
        tests: files, from the root as well.
        functions: qualified names of the functions that are mutated; none for the whole module.
        without: tests that are left out, as in `pytest -k "not (..)"`: those that take long.
    """

    name: str
    path: str
    tests: tuple[str, ...]
    functions: tuple[str, ...] = ()
    without: str = ""

    @property
    def module(self) -> str:
        """Dotted name."""
        return self.path.removesuffix(".py").replace("/", ".")


_AGENT = "learns_the_toy_world or stays_ignorant"
TARGETS = (
    Target("core", "hsrl_gym/envs/core.py", ("tests/envs/test_core.py",)),
    Target("rules", "hsrl_gym/envs/rules.py", ("tests/envs/test_rules.py",)),
    Target(
        "codebook", "hsrl_gym/items/codebook.py", ("tests/items/test_codebook.py", "tests/items/test_codebook_items.py")
    ),
    Target("trie", "hsrl_gym/items/trie.py", ("tests/items/test_trie.py", "tests/items/test_trie_changes.py")),
    Target("distributions", "hsrl_agent/distributions.py", ("tests/agent/test_distributions.py",)),
    Target("credit", "hsrl_agent/credit.py", ("tests/agent/test_credit.py",)),
    Target(
        "HSRL's loss",
        "hsrl_agent/hsrl.py",
        ("tests/agent/test_hsrl.py", "tests/agent/test_credit.py"),
        (
            "HSRL.objective",
            "HSRL.critic_warmup_loss",
            "HSRL.item_advantages",
            "HSRL._buffer_kwargs",
            "HSRL._store_transition",
        ),
        _AGENT,
    ),
    Target(
        "the paper's loss",
        "hsrl_agent/paper_hsrl.py",
        ("tests/agent/test_paper_hsrl.py", "tests/agent/test_hsrl.py"),
        (
            "PaperHSRL.objective",
            "PaperHSRL.losses",
            "PaperHSRL.item_advantages",
            "PaperHSRL.target_value",
            "critic_loss",
            "policy_gradient_loss",
            "negative_entropy",
            "behavioral_cloning_loss",
        ),
        _AGENT,
    ),
)


@dataclass(frozen=True)
class Mutant:
    """One small mistake.

    Attributes:
        target: what it is a mistake in.
        index: which of the module's mutants, in the order of the source.
        function: qualified name of the function around it, "" at the top of the module.
        line: number of the line.
        text: that line, as it is.
        change: what becomes what, for instance "< becomes <=".
    """

    target: Target
    index: int
    function: str
    line: int
    text: str
    change: str

    @property
    def name(self) -> str:
        """Place and change, for a list."""
        return f"{self.target.path}:{self.line} `{self.text}`: {self.change}"

    def tree(self, root: Path = ROOT) -> ast.Module:
        """Return the mutated module."""
        tree = ast.parse((root / self.target.path).read_text(encoding="utf-8"))
        for index, (_, _, _, apply) in enumerate(_sites(tree)):
            if index == self.index:
                apply()
                return ast.fix_missing_locations(tree)
        raise IndexError(self.index)


def mutants_of(target: Target, root: Path = ROOT) -> list[Mutant]:
    """Return all mutants of a target, in the order of the source."""
    source = (root / target.path).read_text(encoding="utf-8")
    lines = source.splitlines()
    found = []
    for index, (function, line, change, _) in enumerate(_sites(ast.parse(source))):
        if not target.functions or any(f"{function}.".startswith(f"{name}.") for name in target.functions):
            found.append(Mutant(target, index, function, line, lines[line - 1].strip(), change))
    return found


def sample(mutants: Sequence[Mutant], n: int, seed: int) -> list[Mutant]:
    """Return n mutants, chosen by seed and by what they change; edits elsewhere in the module change no choice."""
    times_seen: dict[tuple[str, str, str], int] = {}
    ranked = []
    for mutant in mutants:
        what = (mutant.function, mutant.text, mutant.change)
        times_seen[what] = times_seen.get(what, 0) + 1
        text = "\n".join([str(seed), mutant.target.path, *what, str(times_seen[what])])
        ranked.append((hashlib.sha256(text.encode()).hexdigest(), mutant))
    chosen = [mutant for _, mutant in sorted(ranked, key=lambda pair: pair[0])[:n]]
    return sorted(chosen, key=lambda mutant: (mutant.target.path, mutant.index))


def without_equivalent(mutants: Sequence[Mutant], file: Path = EQUIVALENT) -> list[Mutant]:
    """Return the mutants that change what a caller sees; `file` lists the others, each with the reason."""
    listed = yaml.safe_load(file.read_text(encoding="utf-8")) or []
    known = {(one["path"], one["text"], one["change"]) for one in listed}
    return [one for one in mutants if (one.target.path, one.text, one.change) not in known]


_Site = tuple[str, int, str, Callable[[], None]]  # function, line, change, and what makes it


def _sites(tree: ast.Module) -> Iterator[_Site]:
    """Yield what can be changed, in a fixed order; calling the last part changes the tree."""
    yield from _inside(tree, "")


def _inside(node: ast.AST, function: str) -> Iterator[_Site]:
    for name, value in ast.iter_fields(node):
        if name in _LEFT_OUT or isinstance(node, ast.JoinedStr):  # types, and the text of messages
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or _is_typing(child):
                continue
            inner = function
            if isinstance(child, (ast.FunctionDef, ast.ClassDef)):
                inner = f"{function}.{child.name}".lstrip(".")
            if isinstance(child, (ast.expr, ast.stmt)):
                for change, apply in _changes(child, node, name, value):
                    yield inner, child.lineno, change, apply
            yield from _inside(child, inner)


def _is_typing(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _changes(node: ast.AST, parent: ast.AST, field: str, value: Any) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield the changes of one node, which stands in a field of its parent, alone or in a list."""

    def replaced_by(other: ast.AST) -> Callable[[], None]:
        def apply() -> None:
            if isinstance(value, list):
                value[value.index(node)] = other
            else:
                setattr(parent, field, other)

        return apply

    match node:
        case ast.Compare():
            for place, operator in enumerate(node.ops):
                other = _COMPARISONS[type(operator)]()
                yield f"{_sign(operator)} becomes {_sign(other)}", _set_item(node.ops, place, other)
        case ast.BinOp() | ast.AugAssign() if type(node.op) in _OPERATIONS:
            changed = _OPERATIONS[type(node.op)]()
            yield f"{_sign(node.op)} becomes {_sign(changed)}", _set(node, "op", changed)
        case ast.UnaryOp(op=ast.USub() | ast.Invert() | ast.Not()):
            yield f"{_sign(node.op)} is left out", replaced_by(node.operand)
        case ast.BoolOp():
            flipped = ast.Or() if isinstance(node.op, ast.And) else ast.And()
            yield f"{_sign(node.op)} becomes {_sign(flipped)}", _set(node, "op", flipped)
        case ast.Constant(value=bool(flag)):
            yield f"{flag} becomes {not flag}", _set(node, "value", not flag)
        case ast.Constant(value=int(number) | float(number)):
            yield f"{number} becomes {number + 1}", _set(node, "value", number + 1)
        case ast.If() | ast.IfExp() | ast.While() if not isinstance(node.test, (ast.Compare, ast.BoolOp, ast.UnaryOp)):
            negated = ast.UnaryOp(ast.Not(), node.test)
            yield "the condition is negated", _set(node, "test", ast.copy_location(negated, node.test))
        case ast.Return(value=ast.expr()) if not _is_none(node.value):
            yield "None is returned", _set(node, "value", ast.copy_location(ast.Constant(None), node))


def _is_none(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _set(node: ast.AST, field: str, value: Any) -> Callable[[], None]:
    return lambda: setattr(node, field, value)


def _set_item(items: list[Any], place: int, value: Any) -> Callable[[], None]:
    return lambda: items.__setitem__(place, value)


def _sign(operator: ast.AST) -> str:
    """Return an operator as it is written."""
    a, b = ast.Name("a"), ast.Name("b")
    match operator:
        case ast.cmpop():
            return ast.unparse(ast.Compare(a, [operator], [b]))[2:-2]
        case ast.boolop():
            return ast.unparse(ast.BoolOp(operator, [a, b]))[2:-2]
        case ast.unaryop():
            return ast.unparse(ast.UnaryOp(operator, a))[:-1].strip()
        case ast.operator():
            return ast.unparse(ast.BinOp(a, operator, b))[2:-2]
    raise TypeError(operator)
