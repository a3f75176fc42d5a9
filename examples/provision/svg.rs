//! Scalable Vector Graphics (W3C SVG 1.1): rectangles and lines of text.

use std::fmt::Write as _;

/// A drawing that grows downwards.
pub(crate) struct Svg {
    body: String,
}

/// A rectangle in pixels, from its upper left corner.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rect {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
}

/// How a line of text looks; the style sheet in `finish` has one rule for each.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Style {
    Heading,
    Plain,
    Small,
}

impl Svg {
    pub(crate) fn new() -> Self {
        Self { body: String::new() }
    }

    /// A rectangle; a browser shows the title of what the pointer is on.
    pub(crate) fn rect(&mut self, rect: Rect, fill: &str, title: &str) {
        let Rect { x, y, width, height } = rect;
        // Writing into a string can't fail.
        let _ = writeln!(
            self.body,
            "<rect x=\"{x:.2}\" y=\"{y:.2}\" width=\"{width:.2}\" height=\"{height:.2}\" \
             fill=\"{}\"><title>{}</title></rect>",
            escaped(fill),
            escaped(title)
        );
    }

    /// A line of text that begins at a point of its base line.
    pub(crate) fn text(&mut self, x: f64, y: f64, style: Style, text: &str) {
        let class = match style {
            Style::Heading => "heading",
            Style::Plain => "plain",
            Style::Small => "small",
        };
        let text = escaped(text);
        let _ =
            writeln!(self.body, "<text x=\"{x:.2}\" y=\"{y:.2}\" class=\"{class}\">{text}</text>");
    }

    /// What is drawn until the next `close` belongs together.
    pub(crate) fn open(&mut self, class: &str) {
        let _ = writeln!(self.body, "<g class=\"{}\">", escaped(class));
    }

    pub(crate) fn close(&mut self) {
        self.body.push_str("</g>\n");
    }

    /// The file.
    pub(crate) fn finish(self, width: f64, height: f64, title: &str) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {width:.0} {height:.0}\">\n\
             <title>{}</title>\n\
             <style>text {{ font-family: sans-serif; fill: #1f2328 }} .heading {{ font-size: 14px; \
             font-weight: bold }} .plain {{ font-size: 12px }} .small {{ font-size: 10px }}</style>\n\
             <rect width=\"{width:.0}\" height=\"{height:.0}\" fill=\"#ffffff\"/>\n\
             {}</svg>\n",
            escaped(title),
            self.body
        )
    }
}

/// Text as XML has it; what no XML may contain is replaced.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' => out.push(' '),
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push(char::REPLACEMENT_CHARACTER),
            other => out.push(other),
        }
    }
    out
}
