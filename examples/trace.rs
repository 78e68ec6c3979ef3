//! Draws a piece of a trace as a space-time diagram: a line down the page for each thread, an arrow for
//! each notification that main heard and each order that it gave.
//!
//! `rondalla download X.torrent --trace x.trace`, then
//! `cargo run --example trace x.trace [FIRST [COUNT]] > x.svg`: COUNT lines (60) from the FIRST (1).

#![expect(clippy::print_stdout, reason = "the picture is the output")]

use std::env;
use std::error::Error;
use std::fs::File;
use std::io::{BufRead as _, BufReader};

use serde_json::Value;

/// Pixels between two threads.
const LANE: usize = 190;
/// Pixels between two lines of the trace.
const STEP: usize = 22;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let file = arguments.next().ok_or("which file? rondalla writes one with --trace FILE")?;
    let first: usize = arguments.next().map_or(Ok(1), |it| it.parse())?;
    let count: usize = arguments.next().map_or(Ok(60), |it| it.parse())?;
    let lines = BufReader::new(File::open(file)?).lines();
    let lines = lines.skip(first.saturating_sub(1)).take(count);
    let steps = lines.map(|line| Ok(serde_json::from_str::<Value>(&line?)?));
    let steps = steps.collect::<Result<Vec<_>, Box<dyn Error>>>()?;
    if steps.is_empty() {
        return Err("there are no such lines".into());
    }

    // Main first, the others in the order in which they appear.
    let mut threads = vec!["main"];
    for step in &steps {
        let thread = step["thread"].as_str().ok_or("a line without a thread")?;
        if !threads.contains(&thread) {
            threads.push(thread);
        }
    }
    let (width, height) = (LANE * threads.len() + 90, STEP * steps.len() + 70);
    let x_of = |thread: &str| {
        let lane = threads.iter().position(|it| *it == thread).unwrap_or_default();
        90 + LANE * lane + LANE / 2
    };
    println!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" \
         markerHeight=\"8\" orient=\"auto\"><path d=\"M0,0L8,4L0,8z\"/></marker>"
    );
    for thread in &threads {
        let x = x_of(thread);
        let bottom = height - 10;
        println!(
            "<text x=\"{x}\" y=\"22\" text-anchor=\"middle\" font-weight=\"bold\">{thread}</text>"
        );
        println!("<line x1=\"{x}\" y1=\"32\" x2=\"{x}\" y2=\"{bottom}\" stroke=\"#bbb\"/>");
    }
    for (n, step) in steps.iter().enumerate() {
        let is_order = step["way"] == "order";
        let y = 50 + STEP * n;
        let (main, other) = (x_of("main"), x_of(step["thread"].as_str().unwrap_or_default()));
        let (from, to) = if is_order { (main, other) } else { (other, main) };
        let colour = if is_order { "#b5480f" } else { "#1b5e9c" };
        // What is said arrives later than it is said, so arrows point down a little.
        println!(
            "<line x1=\"{from}\" y1=\"{}\" x2=\"{to}\" y2=\"{}\" stroke=\"{colour}\" \
             marker-end=\"url(#tip)\"/>",
            y - 4,
            y + 4
        );
        let about = ["piece", "offset", "blocks", "count"].into_iter().filter_map(|key| {
            let value = step.get(key).filter(|value| !value.is_null())?;
            Some(format!(" {key} {value}"))
        });
        let what =
            step["what"].as_str().unwrap_or_default().to_owned() + &about.collect::<String>();
        let middle = other.max(main) - LANE / 2;
        println!(
            "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\" fill=\"{colour}\">{what}</text>",
            y - 8
        );
        println!(
            "<text x=\"6\" y=\"{y}\" fill=\"#777\">{:.6} s</text>",
            step["time"].as_f64().unwrap_or_default()
        );
    }
    println!("</svg>");
    Ok(())
}
