"""The command lines: every option says what it means and what it is; what is misspelt is told."""

import re

import pytest
import tyro

from experiments import (
    comparison,
    deep_sea,
    figure1,
    figure2,
    figure3,
    impala,
    lag,
    seed_td,
    seeded_impala,
)

MODULES = (
    *(comparison, deep_sea, figure1, figure2, figure3),
    *(impala, lag, seed_td, seeded_impala),
)
COMMANDS = {module.__name__.rpartition(".")[2]: module.Config for module in MODULES}


def output(capsys, config, *arguments):
    with pytest.raises(SystemExit) as stopped:
        tyro.cli(config, args=arguments, prog="command")
    printed = capsys.readouterr()
    return stopped.value.code, printed.out + printed.err


def options(text):
    """The lines of each option of the help, joined, without the box."""
    found = []
    for line in text.splitlines():
        if re.match(r"[│ ] --[a-z]", line):
            found.append("")
        if found:
            found[-1] += " " + line.strip("│ ")
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_meaning_and_a_default(name, capsys):
    code, text = output(capsys, COMMANDS[name], "--help")
    assert code == 0
    found = options(text)
    assert len(found) >= 3
    for option in found:
        words, is_given, _ = option.partition("(default: ")
        assert is_given, option
        assert words.rstrip().endswith("."), option  # a sentence says what it means


@pytest.mark.parametrize("name", COMMANDS)
def test_a_misspelt_option_is_refused_with_the_nearest(name, capsys):
    code, text = output(capsys, COMMANDS[name], "--outt", "3")
    assert code == 2
    assert "--out PATH" in text or "--out {None}|PATH" in text


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("impala", ("--rho-bar", "0.5"), "expected at most rho_bar 0.5"),
        ("impala", ("--policy-lag", "3"), "and deterministic with it"),
        (
            "impala",
            ("--environments-per-actor", "5"),
            "environments_per_actor is 5 and batch_size 32",
        ),
        (
            "impala",
            ("--algorithm", "a3c", "--normalize-observations"),
            "give --no-normalize-observations",
        ),
        ("seed_td", ("--agent.target-rate", "0"), "expected a number in (0, 1]"),
        ("seeded_impala", ("--agent.num-members", "65"), "each of the 64 environments"),
        ("figure2", ("--algorithms",), "expected at least one"),
        ("figure2", ("--precision.at-most", "5"), "at_least 128 and at_most 5"),
    ],
)
def test_what_does_not_fit_together_is_refused(name, arguments, told, capsys):
    code, text = output(capsys, COMMANDS[name], *arguments)
    assert code == 2
    assert told in " ".join(re.sub("[│─╭╮╰╯]", " ", text).split())
