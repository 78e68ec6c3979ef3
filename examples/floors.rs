//! Draws the seven floors of `src/` and how often each imports from each below it, as
//! `cargo test no_import_climbs -- --nocapture` prints it.
//!
//! `cargo run --example floors > floors.svg`

#![expect(clippy::print_stdout, reason = "the picture is the output")]

#[path = "../tests/tidy/imports.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "tests use the rest, and may fail")]
mod imports;
#[path = "pictures/plot.rs"]
mod plot;
#[path = "../tests/tidy/source.rs"]
#[allow(dead_code, clippy::panic, clippy::unwrap_used, reason = "tests use the rest, and may fail")]
mod source;

use imports::{Floors, counts};
use plot::Sheet;
use source::{Source, read};

const WIDTH: u32 = 900;
/// Pixels from a floor's ceiling to the next one's.
const HEIGHT: f64 = 62.0;
/// Pixels from the shaft that leads down to one floor to the next one's, and where the first is.
const SHAFT: f64 = 66.0;
const FIRST_SHAFT: f64 = 430.0;

fn main() {
    let lib = read("src/lib.rs");
    let floors = Floors::read(&lib);
    let counts = counts(&floors, &Source::below("src"));
    // Floor 0 is the ground.
    let ceiling = |floor: usize| 20.0 + HEIGHT * (floors.0.len() - 1 - floor) as f64;
    let mut sheet = Sheet::new(WIDTH, 480);
    for (floor, name) in floors.0.iter().enumerate() {
        let top = ceiling(floor);
        sheet.line(&[(12.0, top), (f64::from(WIDTH) - 12.0, top)], "#bbb", "none");
        sheet.text((16.0, top + 19.0), "start", "#06c", &format!("{} {name}", floor + 1));
        let about = lib.lines().find_map(|line| line.split_once(&format!(". `{name}`: ")));
        let about = about.map_or("", |(_, about)| about);
        let (what, never) = about.split_once(". ").unwrap_or((about, ""));
        sheet.text((16.0, top + 36.0), "start", "#222", what);
        sheet.text((16.0, top + 53.0), "start", "#777", never);
    }
    let ground = ceiling(0) + HEIGHT;
    sheet.line(&[(12.0, ground), (f64::from(WIDTH) - 12.0, ground)], "#222", "none");
    sheet.text((FIRST_SHAFT - 40.0, ground + 18.0), "end", "#555", "imports of");
    for (of, name) in floors.0.iter().enumerate() {
        let x = FIRST_SHAFT + SHAFT * of as f64;
        let floor = ceiling(of);
        let mut above = (of + 1..floors.0.len()).filter(|from| counts.contains_key(&(*from, of)));
        if let Some(highest) = above.next_back() {
            sheet.line(&[(x, ceiling(highest) + 30.0), (x, floor + 8.0)], "#a33", "none");
            let tip = [(x - 4.0, floor), (x, floor + 8.0), (x + 4.0, floor)];
            sheet.line(&tip, "#a33", "none");
        }
        if let Some(own) = counts.get(&(of, of)) {
            sheet.text((x, floor + 24.0), "middle", "#777", &own.to_string());
        }
        for from in of + 1..floors.0.len() {
            let Some(count) = counts.get(&(from, of)) else { continue };
            let y = ceiling(from) + 30.0;
            sheet.line(&[(x - 4.0, y), (x + 4.0, y)], "#a33", "none");
            sheet.text((x + 6.0, y + 5.0), "start", "#a33", &count.to_string());
        }
        sheet.text((x, ground + 18.0), "middle", "#555", name);
    }
    println!("{}", sheet.finish().trim_end());
}
