//! BTF type kinds, `BTF_KIND_*` (include/uapi/linux/btf.h).

/// An integer.
pub const INT: u8 = 1;
/// A pointer.
pub const PTR: u8 = 2;
/// An array.
pub const ARRAY: u8 = 3;
/// A structure.
pub const STRUCT: u8 = 4;
/// A union.
pub const UNION: u8 = 5;
/// An enumeration of 32-bit values.
pub const ENUM: u8 = 6;
/// A structure or union declared only.
pub const FWD: u8 = 7;
/// Another name of a type.
pub const TYPEDEF: u8 = 8;
/// `volatile`.
pub const VOLATILE: u8 = 9;
/// `const`.
pub const CONST: u8 = 10;
/// `restrict`.
pub const RESTRICT: u8 = 11;
/// A function.
pub const FUNC: u8 = 12;
/// A function's parameters and return type.
pub const FUNC_PROTO: u8 = 13;
/// A variable.
pub const VAR: u8 = 14;
/// A section of variables.
pub const DATASEC: u8 = 15;
/// A floating-point number.
pub const FLOAT: u8 = 16;
/// A tag of a declaration.
pub const DECL_TAG: u8 = 17;
/// A tag of a type.
pub const TYPE_TAG: u8 = 18;
/// An enumeration of 64-bit values.
pub const ENUM64: u8 = 19;
