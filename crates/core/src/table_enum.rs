//! An enum whose entries are rows of a table: adding one is adding its row.

/// Declares an enum with a row of data for each entry. Its entries, in order, are `ALL`; a row is
/// `row()`.
macro_rules! table_enum {
    (
        $(#[$meta:meta])*
        $visibility:vis enum $Name:ident: $Row:ty {
            $($(#[doc = $doc:literal])+ $Variant:ident = $row:expr,)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        $visibility enum $Name { $($(#[doc = $doc])+ $Variant,)+ }

        impl $Name {
            /// Every entry, in order.
            pub const ALL: &[Self] = &[$(Self::$Variant,)+];

            /// Its row of the table.
            const fn row(self) -> &'static $Row {
                const ROWS: &[$Row] = &[$($row,)+];
                &ROWS[self as usize]
            }
        }
    };
}

pub(crate) use table_enum;
