//! The macro that makes the enum of the verdicts, and the table of their rows, of the catalog.

/// Declares `VerdictId` and its rows. Every column of every verdict must be given, in this order; a
/// missing topic is a compile error.
macro_rules! verdicts {
    ($(
        $(#[doc = $doc:literal])+
        $Variant:ident = $name:literal {
            label: $en:literal, $zh:literal,
            class: $class:ident, shown: $shown:ident $(($hook_point:ident))?,
            tone: $tone:ident, abnormal: $abnormal:literal, came_through: $came_through:literal,
            decided_by: $decided_by:ident, listen_overflow: $listen_overflow:literal,
            wire: [$($pattern:ident),*],
            counters: [$($effect:ident $counter:ident),*],
            server: $server:ident, client: $client:ident, ends: $ends:ident,
            after: [$($after:ident)?],
        }
    )+) => {
        /// What the kernel did to a connection at one stage of its life.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum VerdictId { $($(#[doc = $doc])+ $Variant,)+ }

        impl VerdictId {
            /// Every id, in the order of a connection's life.
            pub const ALL: &[Self] = &[$(Self::$Variant,)+];

            pub(super) const fn row(self) -> &'static Row {
                &CATALOG[self as usize]
            }
        }

        const CATALOG: &[Row] = &[$(Row {
            name: $name,
            topic: Text {
                en: include_str!(concat!("../explain/topics/en/", $name, ".md")),
                zh: include_str!(concat!("../explain/topics/zh/", $name, ".md")),
            },
            label: Text { en: $en, zh: $zh },
            class: Class::$class,
            shown: Shown::$shown $((HookPoint::$hook_point))?,
            tone: Tone::$tone,
            abnormal: $abnormal,
            came_through: $came_through,
            decided_by: DecidedBy::$decided_by,
            listen_overflow: $listen_overflow,
            wire: &[$(WirePattern::$pattern),*],
            counters: &[$($effect(Counter::$counter)),*],
            server: ServerSide::$server,
            client: ClientSide::$client,
            ends: Ends::$ends,
            after: optional!($($after)?),
        },)+];
    };
}

macro_rules! optional {
    () => {
        None
    };
    ($Variant:ident) => {
        Some(VerdictId::$Variant)
    };
}

pub(super) use {optional, verdicts};
