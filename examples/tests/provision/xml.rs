//! A reader of XML that panics at what is not well formed (W3C XML 1.0, section 2.1), as far as a
//! drawing needs it: no doctype, comment or CDATA.

/// An element with its own text, entities resolved.
#[derive(Debug)]
pub(crate) struct Element {
    pub(crate) name: String,
    attributes: Vec<(String, String)>,
    pub(crate) text: String,
}

impl Element {
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// All elements in the order in which they begin.
pub(crate) fn elements(document: &str) -> Vec<Element> {
    let prolog = document.strip_prefix("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let mut rest = prolog.expect("it begins with its version");
    let (mut elements, mut open): (Vec<Element>, Vec<usize>) = (Vec::new(), Vec::new());
    while let Some((text, after)) = rest.split_once('<') {
        add_text(&mut elements, open.last(), text);
        let (tag, after) = after.split_once('>').expect("a tag ends");
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            let ended = open.pop().expect("what ends has begun");
            assert_eq!(elements[ended].name, name, "tags are nested");
            continue;
        }
        assert!(elements.is_empty() || !open.is_empty(), "there is one root: {tag}");
        let is_empty = tag.ends_with('/');
        if !is_empty {
            open.push(elements.len());
        }
        elements.push(element(tag.trim_end_matches('/')));
    }
    assert!(open.is_empty(), "every element ends");
    assert_eq!(rest.trim(), "", "nothing follows the root");
    elements
}

fn add_text(elements: &mut [Element], owner: Option<&usize>, text: &str) {
    match owner {
        Some(owner) => elements[*owner].text.push_str(&resolved(text)),
        None => assert_eq!(text.trim(), "", "text is in an element"),
    }
}

fn element(tag: &str) -> Element {
    let (name, mut rest) = tag.split_once(' ').unwrap_or((tag, ""));
    assert!(!name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric()), "{tag}");
    let mut attributes: Vec<(String, String)> = Vec::new();
    while !rest.trim().is_empty() {
        let (key, after) = rest.trim_start().split_once("=\"").expect("a quoted value");
        let (value, after) = after.split_once('"').expect("a quote that ends");
        assert!(attributes.iter().all(|(other, _)| other != key), "{key} twice: {tag}");
        attributes.push((key.to_owned(), resolved(value)));
        rest = after;
    }
    Element { name: name.to_owned(), attributes, text: String::new() }
}

fn resolved(text: &str) -> String {
    let mut parts = text.split('&');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, after) = part.split_once(';').expect("an entity ends");
        out.push(match name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            other => panic!("{other} is no entity of XML"),
        });
        out.push_str(after);
    }
    let allowed = |c: char| !c.is_control() || c == '\n';
    assert!(out.chars().all(allowed), "no control characters: {out:?}");
    out
}

#[test]
fn what_is_not_well_formed_is_noticed() {
    let document = |body: &str| format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{body}\n");
    let good = elements(&document("<a b=\"1&lt;\"><c/>x&amp;y</a>"));
    assert_eq!((good[0].attribute("b"), good[0].text.as_str()), (Some("1<"), "x&y"));
    for body in [
        "<a>",
        "<a></b>",
        "<a></a><b></b>",
        "<a>&x;</a>",
        "<a>&</a>",
        "<a b=1></a>",
        "<a b=\"1\" b=\"2\"></a>",
        "<a></a>x",
        "</a>",
    ] {
        let refused = std::panic::catch_unwind(|| elements(&document(body)));
        assert!(refused.is_err(), "{body} is not well formed");
    }
}
