//! Bytes to a tree in which every node knows its place. Refuses what makes a file mean something else than it seems to mean:
//! anchors, aliases, tags, directives, several documents, duplicate keys.

use std::borrow::Cow;
use std::collections::BTreeMap;

use granit_parser::{Event, Parser, ScalarStyle, Span, StrInput};

use super::super::diagnostic::{Raised, Sink};
use super::super::source::{At, Style, small};
use super::syntax_error;

/// One value in a file.
#[derive(Clone, Debug)]
pub(in super::super) struct Node<'a> {
    pub(in super::super) at: At,
    pub(in super::super) content: Content<'a>,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(in super::super) enum Content<'a> {
    /// Nothing was written, or `~` or `null`.
    Null,
    /// Text; whether it is a number is for its reader to say.
    Scalar(Cow<'a, str>),
    List(Vec<Node<'a>>),
    /// Keys are scalars, each once, in the file's order.
    Map(Vec<(Node<'a>, Node<'a>)>),
    /// Already reported.
    Bad,
}

impl Node<'_> {
    /// The text of a scalar.
    pub(in super::super) fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Scalar(text) => Some(text),
            _ => None,
        }
    }
}

/// The largest file that is read.
const MAX_BYTES: usize = 16 << 20;
/// Lists and maps within each other. Bounds the recursion of everything that walks the tree.
const MAX_DEPTH: usize = 32;
/// Values in one file.
const MAX_NODES: usize = 1_000_000;

/// Reads one file. Nothing where it holds nothing, or cannot be read (that is reported).
pub(in super::super) fn read<'a>(file: u32, bytes: &'a [u8], sink: &Sink) -> Option<Node<'a>> {
    let place = |start: usize, end: usize| At { file, start: small(start), end: small(end), style: Style::Plain };
    if bytes.len() > MAX_BYTES {
        let message = format!("the file has {} bytes; the limit is {MAX_BYTES}", bytes.len());
        sink.raise(Raised::error("file-too-large", place(0, 0), message).help("split it into several files"));
        return None;
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let at = error.valid_up_to();
            let found = bytes.get(at).copied().unwrap_or(0);
            let raised = Raised::error("not-utf-8", place(at, at), format!("byte 0x{found:02x} is not UTF-8"));
            sink.raise(raised.help("save the file as UTF-8"));
            return None;
        }
    };
    Builder { file, text, sink, open: Vec::new(), root: None, nodes: 0, documents: 0 }.run()
}

struct Builder<'a, 's> {
    file: u32,
    text: &'a str,
    sink: &'s Sink,
    open: Vec<Open<'a>>,
    root: Option<Node<'a>>,
    nodes: usize,
    documents: usize,
}

/// A list or map that is not closed yet.
struct Open<'a> {
    node: Node<'a>,
    /// A map's key that waits for its value.
    key: Option<Node<'a>>,
    /// Where each key of a map stands.
    keys: BTreeMap<String, At>,
}

/// Reading cannot go on.
struct Stop;

impl<'a> Builder<'a, '_> {
    fn run(mut self) -> Option<Node<'a>> {
        let mut options = granit_parser::options! {
            emit_unresolved_aliases: true,
            disallow_directives: true,
            block_nesting_limit: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
        };
        options.set_emit_comments(false);
        let mut parser: Parser<'a, StrInput<'a>> = Parser::new_from_str_with_options(self.text, options);
        while let Some(next) = parser.next_event() {
            match next {
                Ok((event, span)) => self.event(event, span).ok()?,
                Err(error) => {
                    let at = error.marker().byte_offset().unwrap_or(self.text.len()).min(self.text.len());
                    self.sink.raise(syntax_error::explain(&error, self.at(at, at), self.text));
                    return None;
                }
            }
        }
        self.root
    }

    fn event(&mut self, event: Event<'a>, span: Span) -> Result<(), Stop> {
        let range = span.byte_range().unwrap_or(0..0);
        let at = self.at(range.start, range.end);
        match event {
            Event::DocumentStart(..) => self.document(at)?,
            Event::Scalar(text, style, anchor, tag) => {
                self.properties(at, anchor, tag.is_some());
                let node = scalar(text, style, at);
                // What the tag would have made of the text nobody knows.
                self.put(if tag.is_some() { Node { content: Content::Bad, ..node } } else { node })?;
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.properties(at, anchor, tag.is_some());
                self.open(Node { at, content: Content::List(Vec::new()) })?;
            }
            Event::MappingStart(_, anchor, tag) => {
                self.properties(at, anchor, tag.is_some());
                self.open(Node { at, content: Content::Map(Vec::new()) })?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(range.end)?,
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                let raised = Raised::error("alias", at, "aliases are not supported");
                self.sink.raise(raised.help("write the value out, or use `defaults`"));
                self.put(Node { at, content: Content::Bad })?;
            }
            _ => {}
        }
        Ok(())
    }

    fn document(&mut self, at: At) -> Result<(), Stop> {
        self.documents += 1;
        if self.documents > 1 {
            let raised = Raised::error("second-document", at, "a second document in one file");
            self.sink.raise(raised.expected("one document for each file").help("remove the `---`, or split the file"));
            return Err(Stop);
        }
        Ok(())
    }

    fn properties(&self, at: At, anchor: usize, has_tag: bool) {
        if anchor != 0 {
            let raised = Raised::error("anchor", at, "anchors are not supported");
            self.sink.raise(raised.help("write values out where they are used, or use `defaults`"));
        }
        if has_tag {
            let raised = Raised::error("tag", at, "tags are not supported");
            self.sink.raise(raised.help("remove the word that begins with `!`"));
        }
    }

    fn open(&mut self, node: Node<'a>) -> Result<(), Stop> {
        if self.open.len() >= MAX_DEPTH {
            let message = format!("lists and maps are nested deeper than {MAX_DEPTH}");
            self.sink
                .raise(Raised::error("too-deep", node.at, message).help("nothing in the language is: is a bracket left open?"));
            return Err(Stop);
        }
        self.open.push(Open { node, key: None, keys: BTreeMap::new() });
        Ok(())
    }

    fn close(&mut self, end: usize) -> Result<(), Stop> {
        let Some(Open { mut node, .. }) = self.open.pop() else { return Ok(()) };
        match &node.content {
            // A map is pointed at by its first key: the whole of it would be too much to underline.
            Content::Map(entries) => {
                if let Some((key, _)) = entries.first() {
                    node.at = key.at;
                }
            }
            _ if node.at.start < node.at.end => node.at.end = small(end),
            _ => {}
        }
        self.put(node)
    }

    fn put(&mut self, node: Node<'a>) -> Result<(), Stop> {
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            let message = format!("the file holds more than {MAX_NODES} values");
            self.sink.raise(Raised::error("too-many-values", node.at, message).help("split it into several files"));
            return Err(Stop);
        }
        let sink = self.sink;
        let text = self.text;
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match (&mut open.node.content, open.key.take()) {
            (Content::List(items), _) => items.push(node),
            (Content::Map(_), None) => open.key = Some(node),
            (Content::Map(_), Some(key)) if is_template(&key, text) => {
                let raised = Raised::error("bad-key", key.at, "`{{` at the beginning of a value is a map to YAML");
                sink.raise(raised.help("put the value in quotes: `'{{ labels.app }}'`"));
                open.node.content = Content::Bad;
            }
            (Content::Map(entries), Some(key)) if is_new_key(&key, &mut open.keys, sink, text) => {
                // Where nothing was written there is nothing to point at but the key.
                let is_nothing = matches!(node.content, Content::Null) && node.at.start == node.at.end;
                let at = if is_nothing { key.at } else { node.at };
                entries.push((key, Node { at, ..node }));
            }
            _ => {}
        }
        Ok(())
    }

    fn at(&self, start: usize, end: usize) -> At {
        At { file: self.file, start: small(start), end: small(end), style: Style::Plain }
    }
}

fn scalar<'a>(text: Cow<'a, str>, style: ScalarStyle, at: At) -> Node<'a> {
    let is_null = style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
    let style = match style {
        ScalarStyle::Plain => Style::Plain,
        ScalarStyle::SingleQuoted => Style::Single,
        ScalarStyle::DoubleQuoted => Style::Double,
        ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
    };
    Node { at: At { style, ..at }, content: if is_null { Content::Null } else { Content::Scalar(text) } }
}

/// Whether a map under which no value stands was meant as `{{ … }}`.
fn is_template(key: &Node<'_>, text: &str) -> bool {
    let before = || text.get(..key.at.start as usize).unwrap_or("");
    matches!(key.content, Content::Map(_)) && before().trim_end().ends_with("{{")
}

/// Whether an entry under that key is to be kept; if not, it is reported.
fn is_new_key(key: &Node<'_>, keys: &mut BTreeMap<String, At>, sink: &Sink, text: &str) -> bool {
    let Some(name) = key.text() else {
        if !matches!(key.content, Content::Bad) {
            sink.raise(Raised::error("bad-key", key.at, "a key must be plain text").help("write `name: value`"));
        }
        return false;
    };
    if let Some(first) = keys.get(name) {
        let line = text.get(..first.start as usize).map_or(0, |before| before.matches('\n').count()) + 1;
        let raised = Raised::error("duplicate-key", key.at, format!("the key `{name}` is already there, in line {line}"));
        sink.raise(raised.help("remove one of the two"));
        return false;
    }
    keys.insert(name.to_owned(), key.at);
    true
}

#[cfg(test)]
mod tests {
    use super::super::super::source::Sources;
    use super::*;

    fn problems(bytes: &[u8]) -> Vec<String> {
        let sink = Sink::default();
        read(0, bytes, &sink);
        let sources = Sources::new([("f", bytes)]);
        sink.finish(&sources).iter().map(|d| format!("{}:{} {}", d.line, d.column, d.code)).collect()
    }

    #[test]
    fn refuses_what_hides_meaning() {
        for (text, wanted) in [
            ("a: 1\nb: 2\n", &[][..]),
            ("\u{feff}a: 1\r\nb:\r\n  - 2\r\n", &[]),
            ("---\na: 1\n", &[]),
            ("a: &x 1\nb: *x\nc: *y\n", &["1:7 anchor", "2:4 alias", "3:4 alias"]),
            ("a: !!str 1\n", &["1:10 tag"]),
            ("a: {{ b }}\n", &["1:7 bad-key"]),
            ("%YAML 1.2\n---\na: 1\n", &["1:1 directive"]),
            ("a: 1\n---\nb: 2\n", &["2:1 second-document"]),
            ("a: 1\nb: 2\na: 3\na: 4\n", &["3:1 duplicate-key", "4:1 duplicate-key"]),
            ("? [a]\n: 1\nb: 2\n", &["1:3 bad-key"]),
            ("a:\n\tb: 1\n", &["2:1 yaml-syntax"]),
        ] {
            assert_eq!(problems(text.as_bytes()), wanted, "{text:?}");
        }
        assert_eq!(problems(b"a: 1\nb: \xff\n"), ["2:4 not-utf-8"]);
    }

    #[test]
    fn refuses_depth() {
        for text in ["- ".repeat(10_000), "[".repeat(10_000), format!("{}{}{}", "- ".repeat(31), "[".repeat(20), "]".repeat(20))]
        {
            let found = problems(text.as_bytes());
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].ends_with("too-deep"), "{found:?}");
        }
    }

    #[test]
    fn a_file_may_be_as_large_as_the_limit() {
        assert_eq!(problems(&vec![0xff; MAX_BYTES]), ["1:1 not-utf-8"]);
        assert_eq!(problems(&vec![0xff; MAX_BYTES + 1]), ["1:1 file-too-large"]);
    }

    #[test]
    fn a_file_may_hold_as_many_values_as_the_limit() {
        for (nodes, wanted) in [(MAX_NODES - 1, &[][..]), (MAX_NODES, &["1:1 too-many-values"])] {
            let sink = Sink::default();
            let text = "a";
            let read = Builder { file: 0, text, sink: &sink, open: Vec::new(), root: None, nodes, documents: 0 }.run();
            assert_eq!(read.is_some(), wanted.is_empty(), "{nodes}");
            let found = sink.finish(&Sources::new([("f", text.as_bytes())]));
            assert_eq!(
                found.iter().map(|d| format!("{}:{} {}", d.line, d.column, d.code)).collect::<Vec<_>>(),
                wanted,
                "{nodes}"
            );
        }
    }
}
