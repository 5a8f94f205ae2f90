//! YAML with places: bytes become a tree, the tree becomes derived types, and every mistake on the way is reported, not only the
//! first. Must not know the policy language.

mod de;
mod field;
mod shape;
mod syntax_error;
mod text;
mod tree;

pub(super) use de::{Context, Refused, from_node};
pub(super) use field::{Entries, Field};
pub(super) use shape::{Listed, Named, OneOrMany, Short, Shorthand, TEXT_OR_OTHER, Word};
pub(super) use text::text;
pub(super) use tree::{Content, Node, read};
