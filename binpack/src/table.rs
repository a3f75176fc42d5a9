//! CSV with a header, read strictly: every error names the line and the column.

use std::collections::HashSet;
use std::fmt::Display;
use std::io::{self, Read};
use std::str::FromStr;

use csv::{ReaderBuilder, StringRecord};

use crate::error::{Error, ErrorKind, Result};
use crate::price::micros;
use crate::quantity::{decimal, quantity};

/// The most bytes that are read of one file: a thousand times the largest trace known, and a
/// bound on what a wrong file can make the reader hold.
pub(crate) const MAX_FILE_BYTES: u64 = 1 << 30;

/// The longest row, quoted line breaks included: all known ones are below a kilobyte.
const MAX_ROW_BYTES: usize = 64 << 10;

/// How much the reader takes in at once, and so may have read beyond a row's end.
const BUFFER_BYTES: usize = 8 << 10;

/// A file of which the header is read, and whose form is not known yet.
pub(crate) struct Headed<R> {
    reader: csv::Reader<Bounded<R>>,
    header: StringRecord,
}

/// A table with named columns.
pub(crate) struct Table<R> {
    reader: csv::Reader<Bounded<R>>,
    columns: Vec<(&'static str, usize)>,
}

/// One line of a [`Table`].
pub(crate) struct Row<'a> {
    columns: &'a [(&'static str, usize)],
    record: &'a StringRecord,
    line: u64,
}

impl<R: Read> Headed<R> {
    /// Reads the header.
    pub(crate) fn read(input: R) -> Result<Self> {
        let bounded = Bounded { inner: input, row_bytes: 0, left: MAX_FILE_BYTES };
        let mut reader = ReaderBuilder::new().buffer_capacity(BUFFER_BYTES).from_reader(bounded);
        let header = reader.headers().map_err(unreadable)?.clone();
        reader.get_mut().row_bytes = 0;
        Ok(Self { reader, header })
    }

    /// The form that this file has: the first whose mark, a column that no other form has, is in
    /// the header. Each form comes with its name, for people, and its mark.
    pub(crate) fn form<F: Copy>(&self, forms: &[(&'static str, &'static str, F)]) -> Result<F> {
        let marked = |mark: &str| self.header.iter().any(|column| column == mark);
        if let Some((.., form)) = forms.iter().find(|(_, mark, _)| marked(mark)) {
            return Ok(*form);
        }
        let known: Vec<_> =
            forms.iter().map(|(name, mark, _)| format!("{mark} ({name})")).collect();
        let known = known.join(", ");
        Err(Error::new(
            ErrorKind::Invalid,
            format!("line 1: the header is of no known form: it must have one of {known}"),
        ))
    }

    /// The table, which must have all of `columns`, in any order and among others.
    pub(crate) fn table(self, columns: &[&'static str]) -> Result<Table<R>> {
        let found = columns.iter().map(|name| find(&self.header, name).map(|at| (*name, at)));
        Ok(Table { columns: found.collect::<Result<_>>()?, reader: self.reader })
    }
}

impl<R: Read> Table<R> {
    /// Reads the header, which must have all of `columns`, in any order and among others.
    pub(crate) fn open(input: R, columns: &[&'static str]) -> Result<Self> {
        Headed::read(input)?.table(columns)
    }

    /// Calls `each` with every row.
    pub(crate) fn for_each(mut self, mut each: impl FnMut(&Row<'_>) -> Result<()>) -> Result<()> {
        let mut record = StringRecord::new();
        while self.reader.read_record(&mut record).map_err(unreadable)? {
            self.reader.get_mut().row_bytes = 0;
            let line = record.position().map_or(0, csv::Position::line);
            each(&Row { columns: &self.columns, record: &record, line })?;
        }
        Ok(())
    }
}

impl Row<'_> {
    /// The text of a column.
    pub(crate) fn text(&self, column: &str) -> Result<&str> {
        let at = self.columns.iter().find(|(name, _)| *name == column).map(|(_, at)| *at);
        at.and_then(|at| self.record.get(at)).ok_or_else(|| self.wrong(column, "is missing"))
    }

    /// A column that must not be empty.
    pub(crate) fn name(&self, column: &str) -> Result<&str> {
        match self.text(column)? {
            "" => Err(self.wrong(column, "is empty: give a name")),
            name => Ok(name),
        }
    }

    /// A column's name, which no row before had: `names` keeps them.
    pub(crate) fn unique(&self, column: &str, names: &mut HashSet<String>) -> Result<&str> {
        let name = self.name(column)?;
        if !names.insert(name.to_owned()) {
            return Err(self.wrong(column, format!("{name} is given twice: rename one")));
        }
        Ok(name)
    }

    /// A column's number, at most `max`; `None` if it is empty.
    pub(crate) fn optional(&self, column: &str, max: u64) -> Result<Option<u64>> {
        match self.text(column)? {
            "" => Ok(None),
            _ => self.number(column, max).map(Some),
        }
    }

    /// A column's number, which may have a fraction, in units of which one has `per_one`, at most
    /// `max` of them. What is finer is rounded up.
    pub(crate) fn decimal(&self, column: &str, per_one: u64, max: u64) -> Result<u64> {
        self.at_most(column, max, decimal(self.text(column)?, per_one), "a number, such as 937.5")
    }

    /// A column's Kubernetes quantity, in units of which one has `per_one`, at most `max` of them.
    pub(crate) fn quantity(&self, column: &str, per_one: u64, max: u64) -> Result<u64> {
        self.at_most(column, max, quantity(self.text(column)?, per_one), "a quantity, such as 16Gi")
    }

    fn at_most(&self, column: &str, max: u64, amount: Option<u64>, wanted: &str) -> Result<u64> {
        let text = self.text(column)?;
        match amount {
            Some(amount) if amount <= max => Ok(amount),
            Some(_) => Err(self.wrong(column, format!("is {text}, too much: check its unit"))),
            None => Err(self.wrong(column, format!("is {text:?}: write {wanted}"))),
        }
    }

    /// A column's number, at most `max`.
    pub(crate) fn number(&self, column: &str, max: u64) -> Result<u64> {
        let text = self.text(column)?;
        match u64::from_str(text) {
            Ok(number) if number <= max => Ok(number),
            Ok(_) => Err(self.wrong(column, format!("is {text}, above {max}: check its unit"))),
            Err(_) => {
                Err(self.wrong(column, format!("is {text:?}: write a whole number from 0 on")))
            }
        }
    }

    /// A column's dollars, which may have a fraction, as millionths; `None` if it is empty.
    /// Digits beyond the sixth are rounded up, so that no price becomes less.
    pub(crate) fn micros(&self, column: &str, max: u64) -> Result<Option<u64>> {
        let text = self.text(column)?;
        if text.is_empty() {
            return Ok(None);
        }
        match micros(text) {
            Some(price) if price <= max => Ok(Some(price)),
            Some(_) => {
                Err(self
                    .wrong(column, format!("is {text}, above {max} millionths: check its unit")))
            }
            None => Err(self.wrong(column, format!("is {text:?}: write dollars, such as 0.0416"))),
        }
    }

    /// An error about this column.
    pub(crate) fn wrong(&self, column: &str, problem: impl Display) -> Error {
        Error::new(ErrorKind::Invalid, format!("line {}, column {column}: {problem}", self.line))
    }
}

fn find(header: &StringRecord, name: &str) -> Result<usize> {
    let mut places = header.iter().enumerate().filter(|(_, cell)| *cell == name);
    match (places.next(), places.next()) {
        (Some((at, _)), None) => Ok(at),
        (None, _) => Err(Error::new(
            ErrorKind::Invalid,
            format!("line 1: the header has no column {name}: add it"),
        )),
        _ => Err(Error::new(
            ErrorKind::Invalid,
            format!("line 1: the header has column {name} twice: rename one"),
        )),
    }
}

fn unreadable(error: csv::Error) -> Error {
    let line = error.position().map_or(1, csv::Position::line);
    let (kind, problem) = match error.kind() {
        csv::ErrorKind::Io(io) if io.kind() == io::ErrorKind::NotFound => {
            (ErrorKind::NotFound, "not found")
        }
        csv::ErrorKind::Io(io) if io.kind() == io::ErrorKind::InvalidData => {
            (ErrorKind::Invalid, "a row or the file is too long")
        }
        csv::ErrorKind::Io(_) => (ErrorKind::Unavailable, "the file can't be read"),
        csv::ErrorKind::Utf8 { .. } => (ErrorKind::Invalid, "not UTF-8"),
        csv::ErrorKind::UnequalLengths { .. } => {
            (ErrorKind::Invalid, "not as many columns as the header")
        }
        _ => (ErrorKind::Invalid, "not CSV"),
    };
    Error::new(kind, format!("line {line}: {problem}: correct it")).with_source(error)
}

/// Refuses a row or a file without an end before it is held in memory.
struct Bounded<R> {
    inner: R,
    /// Read since the last row was complete.
    row_bytes: usize,
    /// What the file may still have.
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.row_bytes = self.row_bytes.saturating_add(read);
        if self.row_bytes > MAX_ROW_BYTES + BUFFER_BYTES {
            let problem = format!("a row is longer than {MAX_ROW_BYTES} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        let Some(left) = self.left.checked_sub(read as u64) else {
            let problem = format!("the file is longer than {MAX_FILE_BYTES} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        };
        self.left = left;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Result<Vec<u64>> {
        let mut out = Vec::new();
        let table = Table::open(text.as_bytes(), &["a", "b"])?;
        table.for_each(|row| {
            out.push(row.number("b", 10)?);
            Ok(())
        })?;
        Ok(out)
    }

    #[test]
    fn errors_name_line_and_column() {
        assert_eq!(rows("b,x,a\n1,2,3\n").unwrap(), [1]);
        let said = |text: &str| rows(text).unwrap_err().to_string();
        assert_eq!(said("a\n1\n"), "line 1: the header has no column b: add it");
        assert_eq!(said("a,b,b\n"), "line 1: the header has column b twice: rename one");
        assert_eq!(
            said("a,b\n1,2\n1,x\n"),
            "line 3, column b: is \"x\": write a whole number from 0 on"
        );
        assert_eq!(
            said("a,b\n1,-2\n"),
            "line 2, column b: is \"-2\": write a whole number from 0 on"
        );
        assert_eq!(said("a,b\n1,11\n"), "line 2, column b: is 11, above 10: check its unit");
        assert_eq!(said("a,b\n1,2\n1\n"), "line 3: not as many columns as the header: correct it");
    }

    #[test]
    fn numbers_with_fractions_and_quantities_are_read_by_their_unit() {
        let mut seen = Vec::new();
        let text = "a,b,c\n937.5,2Gi,\n1x,2Gi,\n1,2gi,\n3000,2Gi,7\n";
        let table = Headed::read(text.as_bytes()).unwrap().table(&["a", "b", "c"]).unwrap();
        table
            .for_each(|row| {
                seen.push([
                    row.decimal("a", 10, 20_000).map_err(|e| e.to_string()),
                    row.quantity("b", 1, 1 << 40).map_err(|e| e.to_string()),
                    row.optional("c", 5).map(Option::unwrap_or_default).map_err(|e| e.to_string()),
                ]);
                Ok(())
            })
            .unwrap();
        assert_eq!(seen[0], [Ok(9_375), Ok(2 << 30), Ok(0)]);
        let said = |row: usize, column: usize| seen[row][column].as_ref().unwrap_err().as_str();
        assert_eq!(said(1, 0), "line 3, column a: is \"1x\": write a number, such as 937.5");
        assert_eq!(said(2, 1), "line 4, column b: is \"2gi\": write a quantity, such as 16Gi");
        assert_eq!(said(3, 0), "line 5, column a: is 3000, too much: check its unit");
        assert_eq!(said(3, 2), "line 5, column c: is 7, above 5: check its unit");
    }

    #[test]
    fn a_form_is_told_by_its_mark() {
        let forms = [("one file", "x", 1), ("another", "y", 2)];
        let form = |text: &str| Headed::read(text.as_bytes()).unwrap().form(&forms);
        assert_eq!((form("a,x\n").unwrap(), form("y\n").unwrap()), (1, 2));
        let unknown = form("a,z\n").unwrap_err().to_string();
        let known =
            "line 1: the header is of no known form: it must have one of x (one file), y (another)";
        assert_eq!(unknown, known);
    }

    #[test]
    fn a_row_without_an_end_is_refused_before_it_is_held() {
        let endless = |start: &'static str, again: &'static [u8]| {
            let input = start.as_bytes().chain(io::Cursor::new(again.repeat(100_000)));
            let counted = Counted { inner: input, read: 0 };
            let mut table = Table::open(counted, &["a", "b"]).expect("the header is well formed");
            let error = table.reader.read_record(&mut StringRecord::new()).unwrap_err();
            assert!(table.reader.get_ref().inner.read <= 2 * MAX_ROW_BYTES, "it stopped reading");
            unreadable(error).to_string()
        };
        for (start, again) in [("a,b\n1,", &b"22222222"[..]), ("a,b\n1,\"", b"2222222\n")] {
            let said = endless(start, again);
            assert!(said.contains("a row or the file is too long"), "{said}");
        }
    }

    #[test]
    fn a_file_that_is_too_long_is_refused_and_not_cut_off() {
        let mut bounded = Bounded { inner: &b"a,b\n1,2\n"[..], row_bytes: 0, left: 7 };
        assert!(bounded.read_to_end(&mut Vec::new()).is_err());
        bounded = Bounded { inner: &b"a,b\n1,2\n"[..], row_bytes: 0, left: 8 };
        assert_eq!(bounded.read_to_end(&mut Vec::new()).expect("it is not too long"), 8);
    }

    struct Counted<R> {
        inner: R,
        read: usize,
    }

    impl<R: Read> Read for Counted<R> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let read = self.inner.read(buffer)?;
            self.read += read;
            Ok(read)
        }
    }
}
