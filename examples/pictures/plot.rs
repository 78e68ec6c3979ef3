//! What the pictures of measurements are drawn on.

use std::fmt::Write as _;

/// A picture that is being drawn: texts and lines on white.
pub(crate) struct Sheet(String);

impl Sheet {
    pub(crate) fn new(width: u32, height: u32) -> Self {
        Self(format!(
            "<svg xmlns='http://www.w3.org/2000/svg' width='{width}' height='{height}' \
             font-family='sans-serif' font-size='13'>\n\
             <rect width='{width}' height='{height}' fill='white'/>\n"
        ))
    }

    /// Writes `what`, whose `anchor` (start, middle or end) is at this point of its base line.
    pub(crate) fn text(&mut self, (x, y): (f64, f64), anchor: &str, fill: &str, what: &str) {
        writeln!(
            self.0,
            "<text x='{x:.0}' y='{y:.0}' text-anchor='{anchor}' fill='{fill}'>{what}</text>"
        )
        .expect("a string takes whatever is written");
    }

    /// Draws a line from point to point; `dashes` are those of SVG, or none.
    pub(crate) fn line(&mut self, points: &[(f64, f64)], colour: &str, dashes: &str) {
        let points: Vec<_> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        writeln!(
            self.0,
            "<polyline points='{}' fill='none' stroke='{colour}' stroke-dasharray='{dashes}'/>",
            points.join(" ")
        )
        .expect("a string takes whatever is written");
    }

    /// Draws a bar that lies between these two corners.
    #[allow(dead_code, reason = "not every picture has bars")]
    pub(crate) fn bar(&mut self, (x, y): (f64, f64), (to_x, to_y): (f64, f64), colour: &str) {
        let (width, height) = (to_x - x, to_y - y);
        writeln!(
            self.0,
            "<rect x='{x:.1}' y='{y:.1}' width='{width:.1}' height='{height:.1}' fill='{colour}'/>"
        )
        .expect("a string takes whatever is written");
    }

    pub(crate) fn finish(self) -> String {
        self.0 + "</svg>\n"
    }
}
