//! Numbers and tables for people.
#![expect(clippy::cast_precision_loss, reason = "figures to read")]

use std::fmt::Write as _;
use std::path::PathBuf;

use binpack::{GPU_MILLI, Resources};

const GIB: f64 = (1_u64 << 30) as f64;
const MICROS: f64 = 1e6;

/// A whole number with commas.
pub(crate) fn thousands(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Millionths of a dollar as dollars.
pub(crate) fn dollars(micros: u64) -> f64 {
    micros as f64 / MICROS
}

/// How much of `whole` it is; `None` where there is nothing of it.
pub(crate) fn percent(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64 * 100.0)
}

/// The same as a cell of a table.
pub(crate) fn percent_cell(part: u64, whole: u64) -> String {
    percent(part, whole).map_or_else(|| "-".to_owned(), |percent| format!("{percent:.1}"))
}

/// CPU, memory and, where there are any, GPUs in words.
pub(crate) fn size(resources: &Resources) -> String {
    let cores = thousandths(resources.cpu_milli);
    let gib = resources.memory_bytes as f64 / GIB;
    let memory = if gib.fract() == 0.0 { format!("{gib:.0}") } else { format!("{gib:.2}") };
    let gpus = match resources.gpu_milli {
        0 => String::new(),
        milli => format!(", {} GPU", thousandths(milli)),
    };
    format!("{cores} CPU, {memory} GiB{gpus}")
}

/// Thousandths as a number without zeros at its end.
pub(crate) fn thousandths(milli: u64) -> String {
    let (whole, rest) = (milli / GPU_MILLI, milli % GPU_MILLI);
    let fraction = format!("{rest:03}");
    match fraction.trim_end_matches('0') {
        "" => thousands(whole),
        fraction => format!("{}.{fraction}", thousands(whole)),
    }
}

/// "1 pod", "2 pods".
pub(crate) fn counted(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {what}{plural}", thousands(number))
}

/// Paths in a row.
pub(crate) fn listed(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" ")
}

/// Rows of cells in columns as wide as their widest cell, the first to the left and all others to
/// the right.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new<const N: usize>(header: [&str; N]) -> Self {
        Self { rows: vec![header.map(str::to_owned).to_vec()] }
    }

    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    pub(crate) fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let cell_width =
            |row: &Vec<String>, at: usize| row.get(at).map_or(0, |c| c.chars().count());
        let width = |at| self.rows.iter().map(|row| cell_width(row, at)).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut out = String::new();
        for row in &self.rows {
            for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
                // Writing into a string can't fail.
                let _ = match at {
                    0 => write!(out, "{cell:<width$}"),
                    _ => write!(out, "  {cell:>width$}"),
                };
            }
            out.push('\n');
        }
        out
    }
}
