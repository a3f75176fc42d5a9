//! The tokens of a label selector.

/// What a label selector's text is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A key, a value, or the words `in` and `notin`.
    Word(&'a str),
    Comma,
    Open,
    Close,
    Not,
    Equals,
    NotEquals,
    Greater,
    Less,
    End,
}

impl Token<'_> {
    /// As it is named in an error.
    pub(super) fn text(self) -> String {
        match self {
            Self::Word(word) => format!("{word:?}"),
            Self::Comma => "','".into(),
            Self::Open => "'('".into(),
            Self::Close => "')'".into(),
            Self::Not => "'!'".into(),
            Self::Equals => "'='".into(),
            Self::NotEquals => "'!='".into(),
            Self::Greater => "'>'".into(),
            Self::Less => "'<'".into(),
            Self::End => "the end".into(),
        }
    }
}

/// Goes through the text, with one token to look at before it is taken.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    text: &'a str,
    next: Token<'a>,
    /// Where the next token begins, and where it ends.
    begin: usize,
    end: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let mut lexer = Self { text, next: Token::End, begin: 0, end: 0 };
        lexer.take();
        lexer
    }

    /// The next token.
    pub(super) fn peek(&self) -> Token<'a> {
        self.next
    }

    /// The byte that the next token begins at.
    pub(super) fn at(&self) -> usize {
        self.begin
    }

    /// Takes the next token.
    pub(super) fn take(&mut self) -> Token<'a> {
        let rest = self.text.get(self.end..).unwrap_or_default();
        let trimmed = rest.trim_start_matches(is_space);
        let (token, len) = first(trimmed);
        self.begin = self.end + rest.len() - trimmed.len();
        self.end = self.begin + len;
        std::mem::replace(&mut self.next, token)
    }

    /// Takes the next token if it is this one.
    pub(super) fn take_if(&mut self, token: Token<'_>) -> bool {
        let is = self.next == token;
        if is {
            self.take();
        }
        is
    }
}

/// The token at the beginning, and its length in bytes.
fn first(text: &str) -> (Token<'_>, usize) {
    match text.as_bytes() {
        [] => (Token::End, 0),
        [b'=', b'=', ..] => (Token::Equals, 2),
        [b'!', b'=', ..] => (Token::NotEquals, 2),
        [b'=', ..] => (Token::Equals, 1),
        [b'!', ..] => (Token::Not, 1),
        [b',', ..] => (Token::Comma, 1),
        [b'(', ..] => (Token::Open, 1),
        [b')', ..] => (Token::Close, 1),
        [b'>', ..] => (Token::Greater, 1),
        [b'<', ..] => (Token::Less, 1),
        _ => {
            let len = text.find(|char| is_space(char) || is_special(char)).unwrap_or(text.len());
            (Token::Word(text.get(..len).unwrap_or_default()), len)
        }
    }
}

fn is_space(char: char) -> bool {
    matches!(char, ' ' | '\t' | '\r' | '\n')
}

fn is_special(char: char) -> bool {
    matches!(char, '=' | '!' | '(' | ')' | ',' | '>' | '<')
}
