//! Pictures of rings, as SVG: places on a circle that starts at the top and goes clockwise, and
//! arrows between them.

use std::f64::consts::TAU;
use std::fmt::Write;

/// A picture of one ring.
#[derive(Clone, Debug)]
pub struct Picture {
    title: String,
    spots: Vec<Spot>,
    arrows: Vec<Arrow>,
}

/// A node in its place.
#[derive(Clone, Debug)]
pub struct Spot {
    /// Its place, from 0 at the top clockwise to 1.
    pub place: f64,
    /// What is written beside it.
    pub label: String,
    /// How much it holds: a greater weight is drawn as a larger spot.
    pub weight: u32,
}

/// A pointer from one place to another.
#[derive(Clone, Copy, Debug)]
pub struct Arrow {
    /// Where it begins.
    pub from: f64,
    /// Where it points.
    pub to: f64,
    /// What it stands for.
    pub line: Line,
}

/// What an arrow stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// The next node.
    Successor,
    /// The node before.
    Predecessor,
    /// A short cut.
    Finger,
}

impl Line {
    fn style(self) -> &'static str {
        match self {
            Self::Successor => "stroke=\"#1b6\" stroke-width=\"2\"",
            Self::Predecessor => "stroke=\"#c63\" stroke-dasharray=\"2 3\"",
            Self::Finger => "stroke=\"#88b\" stroke-dasharray=\"5 4\"",
        }
    }
}

/// Half the width of a picture, and the radius of the ring in it.
const HALF: f64 = 360.0;
const RADIUS: f64 = 230.0;

/// Above so many spots labels would cover each other and are left to the tooltips.
const LABELS_MAX: usize = 48;

impl Picture {
    /// A ring without nodes.
    pub fn new(title: &str) -> Self {
        Self { title: title.to_owned(), spots: Vec::new(), arrows: Vec::new() }
    }

    /// Adds a node.
    pub fn spot(&mut self, spot: Spot) {
        self.spots.push(spot);
    }

    /// Adds a pointer.
    pub fn arrow(&mut self, arrow: Arrow) {
        self.arrows.push(arrow);
    }

    /// The picture as a document of its own.
    pub fn to_svg(&self) -> String {
        let mut svg = String::new();
        self.write_to(&mut svg).expect("a string takes everything");
        svg
    }

    fn write_to(&self, svg: &mut String) -> std::fmt::Result {
        let side = 2.0 * HALF;
        writeln!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"{} {} {side} {side}\" \
             width=\"{side}\" height=\"{side}\" font-family=\"sans-serif\" font-size=\"12\">",
            -HALF, -HALF
        )?;
        writeln!(
            svg,
            "<defs><marker id=\"head\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"7\" \
             markerHeight=\"7\" orient=\"auto\"><path d=\"M0 0 8 4 0 8z\" fill=\"#555\"/></marker></defs>"
        )?;
        writeln!(
            svg,
            "<rect x=\"{}\" y=\"{}\" width=\"{side}\" height=\"{side}\" fill=\"#fff\"/>",
            -HALF, -HALF
        )?;
        writeln!(svg, "<circle r=\"{RADIUS}\" fill=\"none\" stroke=\"#ddd\"/>")?;
        writeln!(svg, "<text text-anchor=\"middle\">{}</text>", escape(&self.title))?;
        for arrow in &self.arrows {
            write_arrow(svg, *arrow)?;
        }
        for spot in &self.spots {
            self.write_spot(svg, spot)?;
        }
        writeln!(svg, "</svg>")
    }

    fn write_spot(&self, svg: &mut String, spot: &Spot) -> std::fmt::Result {
        let (x, y) = at(spot.place, RADIUS);
        let size = 4.0 + f64::from(spot.weight.min(1000)).sqrt();
        let label = escape(&spot.label);
        writeln!(
            svg,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{size:.1}\" fill=\"#246\"><title>{label}</title></circle>"
        )?;
        if self.spots.len() > LABELS_MAX {
            return Ok(());
        }
        let (x, y) = at(spot.place, RADIUS + size + 8.0);
        let anchor = if x.abs() < 20.0 {
            "middle"
        } else if x > 0.0 {
            "start"
        } else {
            "end"
        };
        writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{label}</text>",
            y + 4.0
        )
    }
}

/// An arc that bends towards the middle, the more the farther it reaches.
fn write_arrow(svg: &mut String, Arrow { from, to, line }: Arrow) -> std::fmt::Result {
    let style = line.style();
    let (x, y) = at(from, RADIUS);
    if (from - to).abs() < f64::EPSILON {
        let (out_x, out_y) = at(from, RADIUS - 40.0);
        return writeln!(
            svg,
            "<path d=\"M{x:.1} {y:.1}C{:.1} {:.1} {:.1} {:.1} {x:.1} {y:.1}\" fill=\"none\" {style}/>",
            out_x - 25.0,
            out_y,
            out_x + 25.0,
            out_y
        );
    }
    let (to_x, to_y) = at(to, RADIUS - 7.0);
    let bend = match line {
        Line::Successor => 0.85,
        Line::Predecessor => 0.7,
        Line::Finger => 0.35,
    };
    let (mid_x, mid_y) = ((x + to_x) / 2.0 * bend, (y + to_y) / 2.0 * bend);
    writeln!(
        svg,
        "<path d=\"M{x:.1} {y:.1}Q{mid_x:.1} {mid_y:.1} {to_x:.1} {to_y:.1}\" fill=\"none\" {style} \
         marker-end=\"url(#head)\"/>"
    )
}

/// The point of a place at this distance from the middle.
fn at(place: f64, radius: f64) -> (f64, f64) {
    let angle = place * TAU;
    (radius * angle.sin(), -radius * angle.cos())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_holds_its_nodes_and_pointers() {
        let mut picture = Picture::new("two & <more>");
        for (place, label) in [(0.0, "top"), (0.25, "right")] {
            picture.spot(Spot { place, label: label.to_owned(), weight: 4 });
        }
        picture.arrow(Arrow { from: 0.0, to: 0.25, line: Line::Successor });
        picture.arrow(Arrow { from: 0.25, to: 0.25, line: Line::Successor });
        let svg = picture.to_svg();
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert!(svg.contains("two &amp; &lt;more&gt;"));
        assert!(svg.contains("cx=\"0.0\" cy=\"-230.0\"") && svg.contains("cx=\"230.0\""));
        assert_eq!(svg.matches("<path d=\"M").count(), 3, "two pointers and the arrow's head");
    }
}
