"""The command line: `residuum COMMAND ...`. Exit codes: 0 done, 1 failed, 2 bad input, 128 + n stopped by signal n."""

from __future__ import annotations

import errno
import io
import os
import re
import sys
import warnings
from collections.abc import Sequence
from contextlib import redirect_stderr
from typing import Annotated, Protocol

import tyro

from residuum import __version__
from residuum.commands.calibrate import Calibrate
from residuum.commands.compare import Compare
from residuum.commands.conv import Conv
from residuum.commands.evaluate import Evaluate, Predict
from residuum.commands.export import Export
from residuum.commands.inspect import Inspect
from residuum.commands.list import List
from residuum.commands.push import Push
from residuum.commands.report import Report
from residuum.commands.reproduce import Reproduce
from residuum.commands.summary import Summary
from residuum.commands.train import Resume, Train
from residuum.commands.weights import Weights
from residuum.errors import InputError, ResiduumError, unknown

DESCRIPTION = (
    "The residual-network workbench: build, count, train, prove, use. --debug shows tracebacks, --version the version."
)


NAMES = (
    "list",
    "summary",
    "compare",
    "conv",
    "train",
    "resume",
    "evaluate",
    "predict",
    "calibrate",
    "inspect",
    "export",
    "push",
    "weights",
    "reproduce",
    "report",
)


class Command(Protocol):
    """What every command can do."""

    def run(self) -> int: ...


Commands = (
    Annotated[List, tyro.conf.subcommand("list")]
    | Annotated[Summary, tyro.conf.subcommand("summary")]
    | Annotated[Compare, tyro.conf.subcommand("compare")]
    | Annotated[Conv, tyro.conf.subcommand("conv")]
    | Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[Resume, tyro.conf.subcommand("resume")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[Predict, tyro.conf.subcommand("predict")]
    | Annotated[Inspect, tyro.conf.subcommand("inspect")]
    | Annotated[Calibrate, tyro.conf.subcommand("calibrate")]
    | Annotated[Export, tyro.conf.subcommand("export")]
    | Annotated[Push, tyro.conf.subcommand("push")]
    | Annotated[Weights, tyro.conf.subcommand("weights")]
    | Annotated[Reproduce, tyro.conf.subcommand("reproduce")]
    | Annotated[Report, tyro.conf.subcommand("report")]
)


def parse(arguments: Sequence[str]) -> Command:
    """The command a person typed; prints and leaves with 0 after `--help`.

    Raises:
        InputError: it cannot be understood.
    """
    if arguments and not arguments[0].startswith("-") and arguments[0] not in NAMES:
        raise unknown("command", arguments[0], NAMES)
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            return tyro.cli(
                Commands,
                prog="residuum",
                description=DESCRIPTION,
                args=list(arguments),
                config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes),
            )
    except SystemExit as leaving:
        if leaving.code == 0:
            raise
        raise InputError(f"{in_one_line(said.getvalue())}. Try: {_help_for(arguments)}") from leaving


def in_one_line(boxed: str) -> str:
    """What the parser of arguments says in a box of several lines, without the help it repeats."""
    lines = boxed.strip().splitlines()
    if len(lines) > 1 and set(lines[1].strip()) == {"-"}:  # the title, where a terminal has no characters for boxes
        lines = lines[2:]
    text = " ".join(line.strip("│╭╰╮╯─ \n") for line in lines if "──" not in line and "----" not in line)
    text = " ".join(text.partition("For full helptext")[0].replace("(required)", "").split())
    if value := re.search(r"Error parsing (--[\w-]+): .*?(?:\['|: ')(.*?)'", text):
        return f"{value[1]}: cannot be {value[2]!r}"
    if choice := re.search(r"invalid choice '(.*?)' for argument '(--[\w-]+)'\. Expected one of \((.*?)\)", text):
        return f"{choice[2]}: cannot be {choice[1]!r} (expected one of {choice[3]})"
    if missing := re.search(r"Missing value for argument '(--[\w-]+)'", text):
        return f"{missing[1]}: its value is missing"
    unknown_option, _, meant = text.partition(" Perhaps you meant: ")
    unknown_option = re.sub(r" \(applied to [\w -]+\)| or misplaced| Arguments are applied to .*", "", unknown_option)
    suggestion = re.match(r"--[\w-]+", meant)
    fits = suggestion is not None and suggestion[0] not in unknown_option.replace(",", "").split()
    return (f"{unknown_option}, perhaps {suggestion[0]}" if suggestion and fits else unknown_option).rstrip(" .")


def as_typed(message: str, given: Sequence[str]) -> str:
    """A message about a field as one about the option that was typed for it: `--batch-size` for `batch_size`."""
    field, colon, rest = message.partition(": ")
    option = "--" + {"steps": "max-steps"}.get(field, field).replace("_", "-")
    if not colon or not any(each == option or each.startswith(f"{option}=") for each in given):
        return message
    head, action, value = rest.rpartition(". Try: ")
    known = action and not value.startswith("-") and " " not in value
    return f"{option}: {head}. Try: {option} {value}" if known else f"{option}: {rest}"


def _help_for(arguments: Sequence[str]) -> str:
    return f"residuum {arguments[0]} --help" if arguments and arguments[0] in NAMES else "residuum --help"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    given = [each for each in given if each != "--debug"]
    if given == ["--version"]:
        print(f"residuum {__version__}")
        return 0
    warnings.showwarning = _show_warning
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal that lacks a character still gets the line
    try:
        code = parse(given).run()
        sys.stdout.flush()
        return code
    except ResiduumError as error:
        if debug:
            raise
        return _fail(as_typed(str(error), given), error.exit_code)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except BrokenPipeError:
        _silence_output()
        return 0
    except OSError as error:
        if debug:
            raise
        if error.filename is None:  # standard output
            _silence_output()
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        instead = "a place with space" if full else "another path, or the permission for this one"
        return _fail(f"{error.filename or 'standard output'}: {error.strerror}. Try: {instead}", 1)
    except Exception as error:
        if debug:
            raise
        reason = " ".join(str(error).split())[:300]
        return _fail(f"{type(error).__name__}: {reason}. Try: the same command with --debug, and report it", 1)


def _silence_output() -> None:
    """Let the interpreter's last flush go nowhere: nobody reads any more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str, code: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code


def _show_warning(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    print(f"warning: {message}", file=sys.stderr)
