"""What a pickle of PyTorch names, found by walking its instructions as data: nothing is imported, called or built.

A pickle is a program for a small stack machine. The walk below follows only the instructions that `torch.save` writes,
and allows only the names that plain tensors need. It comes before `torch.load(weights_only=True)`, whose own list is
longer, and some of its functions take any amount of memory. What a pickle may do is counted: a short one can hand one
long list to a function, or to a dictionary, any number of times, and each time it is copied.
(instructions: CPython's Lib/pickletools.py; what torch writes: torch/serialization.py, torch/_utils.py)
"""

from __future__ import annotations

import pickletools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from residuum.errors import InputError

MAX_PICKLE_BYTES = 16 << 20
MAX_WORK = 700_000  # a state dict takes about 60 for each tensor: 11,000 tensors, a ResNet-1202 and its momentum
CALL_WORK = 4  # a call counts as so many instructions, and one more for each item of the lists it is given
INSTRUCTIONS = {each.code.encode("latin-1"): each for each in pickletools.opcodes}

CALLED = {
    "collections.OrderedDict",
    "torch.Size",
    "torch.device",
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_tensor_v3",
}
OF_LISTS = {"collections.OrderedDict", "torch.Size"}  # would take a tensor apart, a number at a time
DTYPE = re.compile(r"torch\.(bool|u?int\d+|b?float\d+\w*|complex\d+)")
STORAGE = re.compile(r"torch\.(?:cuda\.|storage\.)?(\w+)Storage")
ITEM_BYTES = {
    "Bool": 1, "Byte": 1, "Char": 1, "Untyped": 1, "Short": 2, "Half": 2, "BFloat16": 2, "Int": 4, "Float": 4,
    "Long": 8, "Double": 8, "ComplexFloat": 8, "ComplexDouble": 16,
}  # fmt: skip
VALUES = {
    "BINUNICODE", "SHORT_BINSTRING", "BINSTRING", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT",
}  # fmt: skip
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
NOTHING = {"PROTO", "STOP"}
PLAIN_KEYS = (str, bytes, int, float, type(None))


class _Name(str):
    """A global that the pickle names."""

    __slots__ = ()


class _Thing:
    """Whatever a pickle would build; of no interest here."""

    __slots__ = ()


class _Dictionary(_Thing):
    """Of a dictionary it is counted how often an entry was set."""

    __slots__ = ("entries",)

    def __init__(self, entries: int = 0) -> None:
        self.entries = entries


class _OrderedDictionary(_Dictionary):
    """An OrderedDict, which alone may be given attributes (a state dict has `_metadata`)."""

    __slots__ = ()


_THING = _Thing()


@dataclass
class Survey:
    """What a walk through one pickle found.

    Attributes:
        value: what it builds, where that is plain.
        work: what it does, in instructions, with that of the pickles before it in the file.
        storage_bytes: how much it claims of each storage.
    """

    value: object = None
    work: int = 0
    storage_bytes: dict[str, int] = field(default_factory=dict)


class _Walk:
    def __init__(self, path: Path, work: int) -> None:
        self.path = path
        self.survey = Survey(work=work)
        self.stack: list[object] = []
        self.marks: list[int] = []
        self.memo: dict[object, object] = {}

    def step(self, instruction: str, argument: object) -> None:
        stack = self.stack
        if instruction in VALUES:
            stack.append(argument)
        elif instruction in ("BINPUT", "LONG_BINPUT"):
            self.memo[argument] = stack[-1]
        elif instruction in ("BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif instruction == "MARK":
            self.marks.append(len(stack))
        elif instruction == "TUPLE":
            stack.append(tuple(self.since_mark()))
        elif instruction in TUPLES:
            items = stack[-TUPLES[instruction] :]
            del stack[-TUPLES[instruction] :]
            stack.append(tuple(items))
        elif instruction in CONSTANTS:
            stack.append(CONSTANTS[instruction])
        elif instruction == "EMPTY_TUPLE":
            stack.append(())
        elif instruction == "EMPTY_DICT":
            stack.append(_Dictionary())
        elif instruction == "EMPTY_LIST":
            stack.append([])
        elif instruction in ("APPEND", "APPENDS"):
            items = [stack.pop()] if instruction == "APPEND" else self.since_mark()
            self.list_on_top().extend(items)
        elif instruction in ("SETITEM", "SETITEMS"):
            items = [stack.pop(-2), stack.pop()] if instruction == "SETITEM" else self.since_mark()
            self.require_keys(items[::2])
            self.dictionary_on_top().entries += len(items) // 2
        elif instruction == "GLOBAL":
            stack.append(self.allowed(str(argument)))
        elif instruction == "REDUCE":
            self.call()
        elif instruction == "BUILD":
            attributes = stack.pop()
            if not isinstance(attributes, _Dictionary) or not isinstance(stack[-1], _OrderedDictionary):
                raise self.odd("gives attributes to what is no OrderedDict, or such as are no dictionary")
            self.spend(attributes.entries)
        elif instruction == "BINPERSID":
            self.claim(stack.pop())
        elif instruction not in NOTHING:
            raise self.odd(f"has the instruction {instruction}")

    def since_mark(self) -> list[object]:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def list_on_top(self) -> list[object]:
        if not isinstance(self.stack[-1], list):
            raise self.odd("appends to what is no list")
        return self.stack[-1]

    def dictionary_on_top(self) -> _Dictionary:
        if not isinstance(self.stack[-1], _Dictionary):
            raise self.odd("sets items of what is no dictionary")
        return self.stack[-1]

    def spend(self, work: int) -> None:
        self.survey.work += work
        if self.survey.work > MAX_WORK:
            raise InputError(
                f"{self.path}: its pickle does more than {MAX_WORK:,} steps. "
                "Try: torch.save of the net's state_dict() alone"
            )

    def require_keys(self, keys: Sequence[object]) -> None:
        """Nested tuples as keys can take for ever to hash."""
        if not all(isinstance(key, PLAIN_KEYS) for key in keys):
            raise self.odd("has a key that is neither text nor number")

    def allowed(self, argument: str) -> _Name:
        name = argument.replace(" ", ".", 1)
        storage = STORAGE.fullmatch(name)
        if name in CALLED or DTYPE.fullmatch(name) or (storage and storage[1] in ITEM_BYTES):
            return _Name(name)
        raise InputError(
            f"{self.path}: is refused, since reading it could execute code (it names {name[:100]!a}, "
            "which plain tensors do not need). Try: the same weights as safetensors"
        )

    def call(self) -> None:
        arguments, called = self.stack.pop(), self.stack.pop()
        if not isinstance(called, _Name) or called not in CALLED or not isinstance(arguments, tuple):
            what = called[:60] if isinstance(called, str) else type(called).__name__  # a tuple may be endless to show
            raise self.odd(f"calls {what!a}")
        lists = [each for each in arguments if isinstance(each, list | tuple)]
        if called in OF_LISTS and len(lists) < len(arguments):
            raise self.odd(f"calls {called} with what is no list")
        self.spend(CALL_WORK + sum(map(len, lists)))
        self.stack.append(self.ordered(lists) if called == "collections.OrderedDict" else _THING)

    def ordered(self, arguments: Sequence[Sequence[object]]) -> _OrderedDictionary:
        """Python 2 wrote an OrderedDict as a call with a list of pairs."""
        for pairs in arguments:
            if not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
                raise self.odd("has an OrderedDict of no pairs")
            self.require_keys([pair[0] for pair in pairs if isinstance(pair, list | tuple)])
        return _OrderedDictionary(sum(map(len, arguments)))

    def claim(self, identity: object) -> None:
        """A storage, which the pickle only points to: ("storage", type, key, device, number of items[, view])."""
        if not isinstance(identity, tuple) or len(identity) < 5 or identity[0] != "storage":
            raise self.odd("points to what is no storage")
        _, kind, key, device, count = identity[:5]
        storage = STORAGE.fullmatch(kind) if isinstance(kind, _Name) else None
        if not storage or not isinstance(key, str) or not isinstance(device, str) or type(count) is not int:
            raise self.odd("describes a storage in an unknown way")
        if count < 0 or count >= 1 << 60:
            raise self.odd(f"claims a storage of {count} items")
        claimed = self.survey.storage_bytes
        claimed[key] = max(claimed.get(key, 0), count * ITEM_BYTES[storage[1]])
        self.stack.append(_THING)

    def odd(self, what: str) -> InputError:
        return InputError(
            f"{self.path}: its pickle {what}, which torch.save does not write for tensors by default. "
            "Try: save it again with torch's default protocol, or as safetensors"
        )


def survey(stream: IO[bytes], path: Path, work: int = 0) -> Survey:
    """Walk through the one pickle that begins where the stream stands, up to its end.

    Args:
        stream: where to read.
        path: what messages begin with.
        work: done by the pickles before it in the same file.

    Raises:
        InputError: it names, calls or holds what plain tensors do not need, or does too much.
        Exception: any, where it is not a whole pickle.
    """
    walk = _Walk(path, work)
    name = ""
    while name != "STOP":
        instruction = INSTRUCTIONS[stream.read(1)]
        name = instruction.name
        walk.spend(1)
        walk.step(name, instruction.arg.reader(stream) if instruction.arg else None)
    (walk.survey.value,) = walk.stack
    return walk.survey
