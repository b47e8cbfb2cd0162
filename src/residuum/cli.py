"""The command line: `residuum COMMAND ...`. Exit codes: 0 done, 1 failed, 2 bad input, 128 + n stopped by signal n."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated, Protocol

import tyro

from residuum import __version__
from residuum.commands.evaluate import Evaluate, Predict
from residuum.commands.list import List
from residuum.commands.reproduce import Report, Reproduce
from residuum.commands.train import Resume, Train
from residuum.errors import ResiduumError

DESCRIPTION = (
    "The residual-network workbench: build, train, prove, use. --debug shows tracebacks, --version the version."
)


class Command(Protocol):
    """What every command can do."""

    def run(self) -> int: ...


Commands = (
    Annotated[List, tyro.conf.subcommand("list")]
    | Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[Resume, tyro.conf.subcommand("resume")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[Predict, tyro.conf.subcommand("predict")]
    | Annotated[Reproduce, tyro.conf.subcommand("reproduce")]
    | Annotated[Report, tyro.conf.subcommand("report")]
)


def parse(arguments: Sequence[str]) -> Command:
    """The command a person typed; exits with 2 where it cannot be understood, with 0 after `--help`."""
    return tyro.cli(
        Commands,
        prog="residuum",
        description=DESCRIPTION,
        args=list(arguments),
        config=(tyro.conf.FlagCreatePairsOff, tyro.conf.OmitArgPrefixes),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    given = [each for each in given if each != "--debug"]
    if given == ["--version"]:
        print(f"residuum {__version__}")
        return 0
    warnings.showwarning = _show_warning
    command = parse(given)
    try:
        return command.run()
    except ResiduumError as error:
        if debug:
            raise
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if debug:
            raise
        reason = " ".join(str(error).split())[:300]
        return _fail(f"{type(error).__name__}: {reason}. Try: the same command with --debug, and report it", 1)


def _fail(message: str, code: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code


def _show_warning(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    print(f"warning: {message}", file=sys.stderr)
