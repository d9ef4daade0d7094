"""Java class files, read for the calls in them and the texts that are passed: enough to see which settings a program reads, and how.

It follows no branches and knows no types beyond descriptors; `Call.texts` are the constants that were pushed since the last call, in
order. Knows nothing of Hadoop. The format: https://docs.oracle.com/javase/specs/jvms/se8/html/jvms-4.html
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

_MAGIC: Final = 0xCAFEBABE
_UTF8, _STRING, _LONG, _DOUBLE = 1, 8, 5, 6
_NUMBERS: Final = {3: ">i", 4: ">f", 5: ">q", 6: ">d"}
_WIDTHS: Final = {7: 2, 8: 2, 9: 4, 10: 4, 11: 4, 12: 4, 15: 3, 16: 2, 17: 4, 18: 4, 19: 2, 20: 2}
_LDC, _LDC_W, _TABLESWITCH, _LOOKUPSWITCH, _WIDE, _IINC = 18, 19, 170, 171, 196, 132
_INVOKES: Final = frozenset((182, 183, 184, 185))
# Bytes that follow an opcode, where there are any.
_OPERANDS: Final[Mapping[int, int]] = {
    **dict.fromkeys((16, 18, *range(21, 26), *range(54, 59), 169, 188), 1),
    **dict.fromkeys((17, 19, 20, 132, *range(153, 169), *range(178, 185), 187, 189, 192, 193, 198, 199), 2),
    **dict.fromkeys((197,), 3),
    **dict.fromkeys((185, 186, 200, 201), 4),
}
_PARAMETERS: Final = re.compile(r"\[*(?:L[^;]+;|[BCDFIJSZ])")
_TEXTS: Final = "[Ljava/lang/String;"
_TAKES_TEXT: Final = frozenset(("Ljava/lang/String;", "Ljava/lang/Object;", "Ljava/lang/CharSequence;"))


@dataclass(frozen=True)
class Call:
    """``owner.name(descriptor)`` with the constant ``texts`` that came before it."""

    owner: str
    name: str
    descriptor: str
    texts: tuple[str, ...]

    @property
    def parameters(self) -> tuple[str, ...]:
        return tuple(_PARAMETERS.findall(self.descriptor[1 : self.descriptor.index(")")]))


@dataclass(frozen=True)
class ClassFile:
    """``constants`` are static fields with a value that the compiler knew: descriptor and value by the field's name.
    ``calls`` are by method."""

    name: str
    constants: Mapping[str, tuple[str, Any]]
    calls: Mapping[str, tuple[Call, ...]] = field(default_factory=dict)


def read_class(content: bytes) -> ClassFile:
    """Take a class file apart. Raise ValueError for what is none."""
    return _Reader(content).read()


class _Reader:
    def __init__(self, content: bytes) -> None:
        if len(content) < 10 or struct.unpack_from(">I", content)[0] != _MAGIC:
            raise ValueError("this is no Java class file")
        self._content = content
        self._at = 8
        self._pool: list[Any] = [None]

    def _u1(self) -> int:
        self._at += 1
        return self._content[self._at - 1]

    def _u2(self) -> int:
        self._at += 2
        return int.from_bytes(self._content[self._at - 2 : self._at], "big")

    def _u4(self) -> int:
        self._at += 4
        return int.from_bytes(self._content[self._at - 4 : self._at], "big")

    def _bytes(self, length: int) -> bytes:
        self._at += length
        return self._content[self._at - length : self._at]

    def read(self) -> ClassFile:
        self._read_pool()
        self._at += 2
        name = self._class_name(self._u2())
        self._at += 2
        interfaces = self._u2()
        self._at += 2 * interfaces
        constants = dict(self._constants())
        calls = {f"{method}{descriptor}": tuple(self._calls(code)) for method, descriptor, code in self._methods()}
        return ClassFile(name, constants, calls)

    def _read_pool(self) -> None:
        count = self._u2()
        while len(self._pool) < count:
            tag = self._u1()
            if tag == _UTF8:
                self._pool.append(self._bytes(self._u2()).decode("utf-8", "replace"))
            elif tag in _NUMBERS:
                form = _NUMBERS[tag]
                self._pool.append(struct.unpack(form, self._bytes(struct.calcsize(form)))[0])
                if tag in {_LONG, _DOUBLE}:
                    self._pool.append(None)
            else:
                self._pool.append((tag, self._bytes(_WIDTHS[tag])))

    def _indices(self, index: int) -> tuple[int, ...]:
        content = self._pool[index][1]
        return tuple(int.from_bytes(content[at : at + 2], "big") for at in range(0, len(content), 2))

    def _class_name(self, index: int) -> str:
        return str(self._pool[self._indices(index)[0]])

    def _value(self, index: int) -> Any:
        value = self._pool[index]
        return self._pool[self._indices(index)[0]] if isinstance(value, tuple) and value[0] == _STRING else value

    def _attributes(self) -> Iterator[tuple[str, int, int]]:
        """Name, begin and length of each attribute; the reader stands behind the last one afterwards."""
        for _ in range(self._u2()):
            name, length = str(self._pool[self._u2()]), self._u4()
            begin = self._at
            yield name, begin, length
            self._at = begin + length

    def _member(self) -> tuple[str, str]:
        self._at += 2
        return str(self._pool[self._u2()]), str(self._pool[self._u2()])

    def _constants(self) -> Iterator[tuple[str, tuple[str, Any]]]:
        for _ in range(self._u2()):
            name, descriptor = self._member()
            for attribute, _, _ in self._attributes():
                if attribute == "ConstantValue":
                    yield name, (descriptor, self._value(self._u2()))

    def _methods(self) -> Iterator[tuple[str, str, bytes]]:
        for _ in range(self._u2()):
            name, descriptor = self._member()
            for attribute, _, _ in self._attributes():
                if attribute == "Code":
                    self._at += 4
                    yield name, descriptor, self._bytes(self._u4())

    def _calls(self, code: bytes) -> Iterator[Call]:
        texts: list[str] = []
        for opcode, at in _instructions(code):
            if opcode in {_LDC, _LDC_W}:
                value = self._value(code[at] if opcode == _LDC else int.from_bytes(code[at : at + 2], "big"))
                if isinstance(value, str):
                    texts.append(value)
            elif opcode in _INVOKES:
                call = self._call(int.from_bytes(code[at : at + 2], "big"), tuple(texts))
                yield call
                taken = len(texts) if _TEXTS in call.parameters else sum(each in _TAKES_TEXT for each in call.parameters)
                texts = texts[: max(0, len(texts) - taken)]

    def _call(self, index: int, texts: tuple[str, ...]) -> Call:
        owner, member = self._indices(index)
        name, descriptor = self._indices(member)
        return Call(self._class_name(owner), str(self._pool[name]), str(self._pool[descriptor]), texts)


def _instructions(code: bytes) -> Iterator[tuple[int, int]]:
    """Each opcode, and where its operands begin."""
    at = 0
    while at < len(code):
        opcode = code[at]
        yield opcode, at + 1
        if opcode in {_TABLESWITCH, _LOOKUPSWITCH}:
            at = _after_switch(code, at, opcode)
        elif opcode == _WIDE:
            at += 6 if code[at + 1] == _IINC else 4
        else:
            at += 1 + _OPERANDS.get(opcode, 0)


def _after_switch(code: bytes, at: int, opcode: int) -> int:
    begin = at + 4 - at % 4 + 4
    if opcode == _LOOKUPSWITCH:
        return begin + 4 + 8 * int(struct.unpack_from(">i", code, begin)[0])
    low, high = struct.unpack_from(">ii", code, begin)
    return begin + 8 + 4 * int(high - low + 1)
