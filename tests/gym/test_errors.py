"""The one error and its wording of unknown names."""

from __future__ import annotations

import pickle

from hsrl_gym.errors import HsrlError, is_unprintable, listed, printable, shown, unknown_name


def test_it_is_a_value_error() -> None:
    assert issubclass(HsrlError, ValueError)


def test_an_unknown_name_gets_the_nearest_known_ones() -> None:
    error = unknown_name("reward rule", "sweet_pont", ["mean_with_cost", "sweet_point"])
    assert isinstance(error, HsrlError)
    assert str(error) == "unknown reward rule 'sweet_pont'; did you mean sweet_point?"


def test_several_near_names_are_all_given_the_nearest_first() -> None:
    assert str(unknown_name("data set", "ml10k", ["ml1m", "ml100k"])).endswith("did you mean ml100k or ml1m?")


def test_a_name_like_no_other_gets_the_list_in_order() -> None:
    assert str(unknown_name("simulator", "xyz", {"train": 1, "eval": 2})) == (
        "unknown simulator 'xyz'; known: eval, train."
    )


def test_the_name_need_not_be_a_string() -> None:
    assert str(unknown_name("simulator", None, ["eval", "train"])) == "unknown simulator None; known: eval, train."


def test_a_message_is_one_line_that_steers_no_terminal() -> None:
    error = HsrlError("got a\n\x1b[31mb\x9b1m\x00\u202e, expected \u2028 é 漢 👩‍👩‍👧")
    assert str(error) == "got a ?[31mb?1m??, expected   é 漢 👩‍👩‍👧"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert not is_unprintable(str(error))
    assert printable("\ud800\t\x7f") == "? ?"


def test_what_was_found_is_shown_in_part() -> None:
    assert shown("a\x1bb") == r"'a\x1bb'"
    assert shown(["x" * 10**6]) == "['" + "x" * 194 + "...]"
    assert shown([16**5000]) == "a list too long to be written"
    assert len(str(unknown_name("method", "x" * 10**6, ["hsrl"]))) < 300


def test_found_text_is_shown_printable_and_cut() -> None:
    assert shown("a'b") == '"a\'b"'
    assert shown("\x1b[2J\n") == r"'\x1b[2J\n'"
    for text in ("x" * 201, "\x00" * 100, "x" * 10**6):
        assert len(shown(text)) <= 200
        assert shown(text).endswith("...'")
    assert shown("x" * 198) == f"'{'x' * 198}'"


def test_listed_names_are_printable_and_cut() -> None:
    assert listed(["a", "b\x1b"]) == r"a, b\x1b"
    assert len(listed(["name"] * 1000)) == 200
    assert listed(["name"] * 1000).endswith("...")
