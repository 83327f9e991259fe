# SPDX-License-Identifier: GPL-2.0-only
"""Makes drgn types from BTF, each when it is first requested."""

from collections.abc import Callable

from drgn import (
    Object,
    Program,
    Qualifiers,
    Type,
    TypeEnumerator,
    TypeKind,
    TypeMember,
    TypeParameter,
)

from .btf import Btf, BtfError, BtfKind, Record

_QUALIFIER = {
    BtfKind.CONST: Qualifiers.CONST,
    BtfKind.VOLATILE: Qualifiers.VOLATILE,
    BtfKind.RESTRICT: Qualifiers.RESTRICT,
}
_KINDS = {
    TypeKind.INT: (BtfKind.INT,),
    TypeKind.BOOL: (BtfKind.INT,),
    TypeKind.FLOAT: (BtfKind.FLOAT,),
    TypeKind.STRUCT: (BtfKind.STRUCT,),
    TypeKind.UNION: (BtfKind.UNION,),
    TypeKind.ENUM: (BtfKind.ENUM, BtfKind.ENUM64),
    TypeKind.TYPEDEF: (BtfKind.TYPEDEF,),
}


class BtfTypes:
    """The types of one kernel's BTF as drgn types of `prog`.

    Types of members and parameters are made lazily.
    """

    def __init__(self, prog: Program, btf: Btf) -> None:
        self.prog = prog
        self.btf = btf
        self._made: dict[int, Type] = {}
        self._make: dict[BtfKind, Callable[[Record], Type]] = {
            BtfKind.VOID: lambda _: self.prog.void_type(),
            BtfKind.INT: self._int,
            BtfKind.FLOAT: lambda r: self.prog.float_type(r.name, r.size_or_type),
            BtfKind.PTR: lambda r: self.prog.pointer_type(self.type(r.size_or_type)),
            BtfKind.ARRAY: self._array,
            BtfKind.STRUCT: self._compound,
            BtfKind.UNION: self._compound,
            BtfKind.ENUM: self._enum,
            BtfKind.ENUM64: self._enum,
            BtfKind.FWD: self._forward,
            BtfKind.TYPEDEF: lambda r: self.prog.typedef_type(r.name, self.type(r.size_or_type)),
            BtfKind.FUNC_PROTO: self._function,
            BtfKind.FUNC: lambda r: self.type(r.size_or_type),
            BtfKind.VAR: lambda r: self.type(r.size_or_type),
            BtfKind.TYPE_TAG: lambda r: self.type(r.size_or_type),
        }

    def type(self, type_id: int) -> Type:
        """Return the drgn type of a BTF type id; raises BtfError if it is invalid."""
        made = self._made.get(type_id)
        if made is None:
            try:
                made = self._make_type(self.btf.record(type_id))
            except (LookupError, ValueError, TypeError, OverflowError, RecursionError) as error:
                raise BtfError(f"its type {type_id} is invalid: {error}") from None
            self._made[type_id] = made
        return made

    def _make_type(self, record: Record) -> Type:
        if record.kind in _QUALIFIER:
            target = self.type(record.size_or_type)
            return target.qualified(target.qualifiers | _QUALIFIER[record.kind])
        return self._make[record.kind](record)

    def find(self, kinds: set[TypeKind], name: str) -> Type | None:
        """Return the type of one of these drgn kinds and this name, or None."""
        for kind in kinds:
            for btf_kind in _KINDS.get(kind, ()):
                type_id = self.btf.find(btf_kind, name)
                if type_id is not None:
                    found = self.type(type_id)
                    if found.kind in kinds:
                        return found
        return None

    def _int(self, record: Record) -> Type:
        signed, boolean, _ = self.btf.integer(record)
        if boolean:
            return self.prog.bool_type(record.name, record.size_or_type)
        # pahole does not mark plain char as signed; it is signed on x86.
        signed = signed or record.name == "char"
        return self.prog.int_type(record.name, record.size_or_type, signed)

    def _array(self, record: Record) -> Type:
        element, length = self.btf.array(record)
        return self.prog.array_type(self.type(element), length)

    def _member(self, type_id: int, bits: int) -> Callable[[], Object | Type]:
        if bits:
            return lambda: Object(self.prog, self.type(type_id), bit_field_size=bits)
        return lambda: self.type(type_id)

    def _compound(self, record: Record) -> Type:
        members = [
            TypeMember(self._member(type_id, bits), name or None, offset)
            for name, type_id, offset, bits in self.btf.members(record)
        ]
        make = self.prog.struct_type if record.kind is BtfKind.STRUCT else self.prog.union_type
        return make(record.name or None, record.size_or_type, members)

    def _enum(self, record: Record) -> Type:
        size = record.size_or_type
        name = {1: "char", 2: "short", 4: "int", 8: "long"}[size]
        underlying = self.prog.int_type(
            name if record.kind_flag else f"unsigned {name}", size, record.kind_flag
        )
        mask = None if record.kind_flag else (1 << 8 * size) - 1
        return self.prog.enum_type(
            record.name or None,
            underlying,
            [
                TypeEnumerator(name, value if mask is None else value & mask)
                for name, value in self.btf.enumerators(record)
            ],
        )

    def _forward(self, record: Record) -> Type:
        make = self.prog.union_type if record.kind_flag else self.prog.struct_type
        return make(record.name)

    def _function(self, record: Record) -> Type:
        entries = self.btf.parameters(record)
        variadic = bool(entries) and entries[-1] == ("", 0)
        parameters = [
            TypeParameter(self._member(type_id, 0), name or None)
            for name, type_id in (entries[:-1] if variadic else entries)
        ]
        return self.prog.function_type(self.type(record.size_or_type), parameters, variadic)
