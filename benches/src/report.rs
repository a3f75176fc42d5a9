//! Lines of `name value unit`.

/// Prints one line. Large values are whole, small ones keep three digits that matter.
pub fn line(name: &str, value: f64, unit: &str) {
    let decimals = match value.abs() {
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    println!("{name} {value:.decimals$} {unit}");
}

/// Prints a rival's value, and how many times better we are.
pub fn rival(name: &str, rival: &str, theirs: f64, unit: &str, ratio: impl Fn(f64) -> f64) {
    line(&format!("{name}-{rival}"), theirs, unit);
    line(&format!("{name}-{rival}-ratio"), ratio(theirs), "x");
}

/// The middle value, the lower one of two; zero of none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}

/// Says on standard error what the rounds gave, so that their spread is seen.
pub fn rounds(name: &str, values: &[f64]) {
    let values: Vec<_> = values.iter().map(|value| format!("{value:.0}")).collect();
    eprintln!("{name}: {}", values.join(" "));
}
