//! Draws REPORT.md's tables *Beside the other clients*: a strip for each column of figures, a bar for
//! each client, and its least and most where the table has them.
//!
//! `cargo run --example beside_others > beside_others.svg`

#![expect(clippy::print_stdout, reason = "the picture is the output")]

#[path = "pictures/plot.rs"]
mod plot;

use std::error::Error;
use std::fs;

use plot::Sheet;

const WIDTH: u32 = 900;
/// Strips in a row, and pixels from one to the next.
const ABREAST: usize = 3;
const STRIP: f64 = 290.0;
/// Pixels from the left edge of a strip to its bars, and the longest bar.
const NAMES: f64 = 86.0;
const LONGEST: f64 = 125.0;
/// Pixels of a strip's title and the room below it, from one bar to the next, and of how thick it is.
const TITLE: u32 = 46;
const STEP: u32 = 18;
const THICK: f64 = 9.0;

/// The figures of one column, a client a row.
struct Strip {
    title: String,
    bars: Vec<(String, Bar)>,
}

/// A figure, and between what it lay.
struct Bar {
    is_ours: bool,
    /// As the table has it.
    shown: String,
    median: f64,
    least: f64,
    most: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let report = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/REPORT.md"))?;
    let strips = strips(&report);
    let most = strips.iter().map(|strip| strip.bars.len()).max().ok_or("there are no tables")?;
    let height = TITLE + STEP * u32::try_from(most)?;
    let rows = u32::try_from(strips.len().div_ceil(ABREAST))?;
    let mut sheet = Sheet::new(WIDTH, height * rows + 10);
    for (n, strip) in strips.iter().enumerate() {
        let (row, column) = (n / ABREAST, n % ABREAST);
        draw(
            &mut sheet,
            strip,
            16.0 + STRIP * column as f64,
            26.0 + f64::from(height) * row as f64,
        );
    }
    println!("{}", sheet.finish().trim_end());
    Ok(())
}

/// The columns of figures of the section's tables that have several clients in them.
fn strips(report: &str) -> Vec<Strip> {
    let section = report.split("### Beside the other clients").nth(1).unwrap_or_default();
    let section = section.split("\n### ").next().unwrap_or_default();
    let mut strips = Vec::new();
    for table in section.split("\n\n").filter(|part| part.starts_with('|')) {
        let rows: Vec<Vec<&str>> = table.lines().map(cells).collect();
        let Some((head, rows)) = rows.split_first() else { continue };
        for column in 1..head.len() {
            let named = |row: &Vec<&str>| {
                Some((name(row[0]), bar(row.get(column)?, row[0].starts_with("rondalla"))?))
            };
            let bars: Vec<_> = rows.iter().filter_map(named).collect();
            if bars.len() > 1 {
                strips.push(Strip { title: format!("{}: {}", head[0], head[column]), bars });
            }
        }
    }
    strips
}

fn cells(line: &str) -> Vec<&str> {
    line.trim_matches('|').split('|').map(str::trim).collect()
}

/// A client's name without what is said about it.
fn name(cell: &str) -> String {
    if let Some(how) = cell.strip_prefix("rondalla, ") {
        return how.split(" instead").next().unwrap_or(how).to_owned();
    }
    cell.split([',', '(']).next().unwrap_or(cell).trim().to_owned()
}

/// `1.61 (1.43-1.66)`, or several figures of their own, or one.
fn bar(cell: &str, is_ours: bool) -> Option<Bar> {
    let numbers = |text: &str| -> Vec<f64> {
        // A comma in a number is for the eye.
        let text = text.replace(", ", " ").replace(',', "");
        let parts = text.split(['-', '(', ')', ' ']).filter(|part| !part.is_empty());
        parts.map_while(|part| part.parse().ok()).collect()
    };
    let all = numbers(cell);
    let least = all.iter().copied().reduce(f64::min)?;
    let most = all.iter().copied().reduce(f64::max)?;
    // Of few runs the table has them all.
    let median =
        if cell.contains('(') { all[0] } else { all.iter().sum::<f64>() / all.len() as f64 };
    let shown = cell.split('(').next().unwrap_or(cell).trim().to_owned();
    Some(Bar { is_ours, shown, median, least, most })
}

fn draw(sheet: &mut Sheet, strip: &Strip, x: f64, y: f64) {
    sheet.text((x, y), "start", "#222", &strip.title);
    let longest = strip.bars.iter().map(|(_, bar)| bar.most).fold(f64::MIN_POSITIVE, f64::max);
    let from = x + NAMES;
    let at = |figure: f64| from + LONGEST * figure / longest;
    for (n, (client, bar)) in strip.bars.iter().enumerate() {
        let y = y + f64::from(STEP) * (n as f64 + 1.0);
        let colour = if bar.is_ours { "#a33" } else { "#9ab" };
        sheet.text((from - 6.0, y + 4.0), "end", "#555", client);
        sheet.bar((from, y - THICK / 2.0), (at(bar.median), y + THICK / 2.0), colour);
        if bar.least < bar.most {
            sheet.line(&[(at(bar.least), y), (at(bar.most), y)], "#222", "none");
        }
        sheet.text((at(bar.most.max(bar.median)) + 5.0, y + 4.0), "start", "#222", &bar.shown);
    }
}
