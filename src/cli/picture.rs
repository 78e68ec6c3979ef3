//! Pictures of rings, as SVG: places on a circle that starts at the top and goes clockwise, and
//! arrows between them.
//!
//! A pointer to the next node of the same ring runs along the circle, and one that skips somebody
//! across it, in red: so one ring is one closed circle, two rings are two, and a ring that winds
//! twice is a red star.

use std::f64::consts::TAU;
use std::fmt::{Result, Write};

/// A picture of one ring, or of several.
#[derive(Clone, Debug)]
pub struct Picture {
    title: String,
    good: bool,
    spots: Vec<Spot>,
    arrows: Vec<Arrow>,
    fingers_of: Option<usize>,
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
    /// Which ring it is of: each has a circle of its own.
    pub ring: usize,
}

/// A pointer from one spot to another, each by its number.
#[derive(Clone, Copy, Debug)]
pub struct Arrow {
    /// Where it begins.
    pub from: usize,
    /// Where it points.
    pub to: usize,
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

/// Half the width and half the height of a picture, and the radius of the first ring in it.
const HALF_WIDTH: f64 = 480.0;
const HALF_HEIGHT: f64 = 330.0;
const RADIUS: f64 = 230.0;
/// By so much the next ring's circle is smaller; beyond the fourth all have the same.
const RING_STEP: f64 = 40.0;
const RINGS_MAX: usize = 4;
const COLOURS: [&str; RINGS_MAX] = ["#178a5a", "#7a3fa8", "#a8741f", "#2a6fb0"];
const WRONG: &str = "#d22";

/// Above so many spots labels would cover each other and are left to the tooltips.
const LABELS_MAX: usize = 80;
/// From one label to the next below it.
const LABEL_STEP: f64 = 13.0;

impl Picture {
    /// A ring without nodes. `good` says whether all is as it should be.
    pub fn new(title: &str, good: bool) -> Self {
        let (title, spots, arrows) = (title.to_owned(), Vec::new(), Vec::new());
        Self { title, good, spots, arrows, fingers_of: None }
    }

    /// Adds a node; its number is how many were added before.
    pub fn spot(&mut self, spot: Spot) {
        self.spots.push(spot);
    }

    /// Adds a pointer.
    ///
    /// # Panics
    /// When it is drawn, if there are no such spots.
    pub fn arrow(&mut self, arrow: Arrow) {
        if arrow.line == Line::Finger {
            self.fingers_of = Some(arrow.from);
        }
        self.arrows.push(arrow);
    }

    /// The picture as a document of its own.
    pub fn to_svg(&self) -> String {
        let mut svg = String::new();
        self.write_to(&mut svg).expect("a string takes everything");
        svg
    }

    fn write_to(&self, svg: &mut String) -> Result {
        let (width, height) = (2.0 * HALF_WIDTH, 2.0 * HALF_HEIGHT);
        writeln!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"{} {} {width} {height}\" \
             width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"11\">",
            -HALF_WIDTH, -HALF_HEIGHT
        )?;
        write!(svg, "<defs>")?;
        for colour in COLOURS.iter().chain([&WRONG, &FINGER, &PREDECESSOR]) {
            write!(
                svg,
                "<marker id=\"{}\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"8\" \
                 markerHeight=\"8\" markerUnits=\"userSpaceOnUse\" orient=\"auto\">\
                 <path d=\"M0 0 8 4 0 8z\" fill=\"{colour}\"/></marker>",
                colour.trim_start_matches('#')
            )?;
        }
        writeln!(svg, "</defs>")?;
        writeln!(
            svg,
            "<rect x=\"{}\" y=\"{}\" width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>",
            -HALF_WIDTH, -HALF_HEIGHT
        )?;
        let rings = self.spots.iter().map(|spot| spot.ring.min(RINGS_MAX - 1) + 1).max();
        for ring in 0..rings.unwrap_or(1) {
            writeln!(svg, "<circle r=\"{}\" fill=\"none\" stroke=\"#ddd\"/>", radius(ring))?;
        }
        for arrow in &self.arrows {
            self.write_arrow(svg, *arrow)?;
        }
        for spot in &self.spots {
            write_spot(svg, spot)?;
        }
        if self.spots.len() <= LABELS_MAX {
            self.write_labels(svg)?;
        }
        let colour = if self.good { COLOURS[0] } else { WRONG };
        let lines: Vec<&str> = self.title.lines().collect();
        for (n, line) in lines.iter().enumerate() {
            let y = (as_float(n) - as_float(lines.len() - 1) / 2.0) * 22.0;
            writeln!(
                svg,
                "<text y=\"{y:.0}\" text-anchor=\"middle\" font-size=\"17\" fill=\"{colour}\" \
                 stroke=\"#fff\" stroke-width=\"4\" paint-order=\"stroke\">{}</text>",
                escape(line)
            )?;
        }
        self.write_legend(svg)?;
        writeln!(svg, "</svg>")
    }

    /// What the lines stand for, of those that are there.
    fn write_legend(&self, svg: &mut String) -> Result {
        let has = |line| self.arrows.iter().any(|arrow| arrow.line == line);
        let mut entries = Vec::new();
        if has(Line::Successor) {
            entries.push((COLOURS[0], "", "successor".to_owned()));
        }
        if self.arrows.iter().any(|arrow| self.is_wrong(*arrow)) {
            entries.push((WRONG, "", "successor that skips others".to_owned()));
        }
        if has(Line::Predecessor) {
            entries.push((PREDECESSOR, "2 3", "predecessor".to_owned()));
        }
        if let Some(node) = self.fingers_of.and_then(|node| self.spots.get(node)) {
            entries.push((FINGER, "5 4", format!("fingers of {}", node.label)));
        }
        let x = 12.0 - HALF_WIDTH;
        for (n, (colour, dashes, text)) in entries.iter().rev().enumerate() {
            let y = HALF_HEIGHT - 14.0 - 16.0 * as_float(n);
            writeln!(
                svg,
                "<path d=\"M{x:.0} {y:.0}h30\" stroke=\"{colour}\" stroke-width=\"2\" \
                 stroke-dasharray=\"{dashes}\"/><text x=\"{:.0}\" y=\"{:.0}\">{}</text>",
                x + 38.0,
                y + 4.0,
                escape(text)
            )?;
        }
        Ok(())
    }

    /// The labels stand outside, on either side, each below the one above it.
    fn write_labels(&self, svg: &mut String) -> Result {
        let right = |spot: &&Spot| (0.0..0.5).contains(&spot.place);
        let mut sides: [Vec<&Spot>; 2] = self.spots.iter().partition(right).into();
        sides[1].reverse();
        for (side, spots) in [1.0, -1.0].into_iter().zip(&mut sides) {
            let wanted = |spot: &Spot| at(spot.place, RADIUS + 22.0).1;
            spots.sort_by(|one, other| wanted(one).total_cmp(&wanted(other)));
            let mut heights: Vec<f64> = spots.iter().map(|spot| wanted(spot)).collect();
            let lowest = HALF_HEIGHT - 8.0;
            for n in 1..heights.len() {
                heights[n] = heights[n].max(heights[n - 1] + LABEL_STEP);
            }
            let mut below = lowest + LABEL_STEP;
            for height in heights.iter_mut().rev() {
                *height = height.min(below - LABEL_STEP);
                below = *height;
            }
            for (spot, y) in spots.iter().zip(heights) {
                write_label(svg, spot, side, y)?;
            }
        }
        Ok(())
    }

    /// Whether somebody of the same ring stands between a node and its successor.
    fn is_wrong(&self, Arrow { from, to, line }: Arrow) -> bool {
        let (from, to) = (&self.spots[from], &self.spots[to]);
        let turn = |spot: &Spot| (spot.place - from.place).rem_euclid(1.0);
        let between = |spot: &Spot| {
            spot.ring == from.ring && turn(spot) > 0.0 && (turn(spot) < turn(to) || turn(to) == 0.0)
        };
        line == Line::Successor && (from.ring != to.ring || self.spots.iter().any(between))
    }

    fn write_arrow(&self, svg: &mut String, arrow: Arrow) -> Result {
        let (from, to) = (&self.spots[arrow.from], &self.spots[arrow.to]);
        let (inner, outer) = (radius(from.ring), radius(to.ring));
        let ((x, y), (to_x, to_y)) = (at(from.place, inner), at(to.place, outer));
        let wrong = self.is_wrong(arrow);
        let style = match arrow.line {
            Line::Successor if wrong => style(WRONG, "2", ""),
            Line::Successor => style(colour(from.ring), "2.5", ""),
            Line::Predecessor => style(PREDECESSOR, "1.2", "2 3"),
            Line::Finger => style(FINGER, "1.2", "5 4"),
        };
        if arrow.line == Line::Successor && !wrong {
            let turn = (to.place - from.place).rem_euclid(1.0);
            if turn == 0.0 {
                // Alone: all the way round.
                let (far_x, far_y) = at(from.place + 0.5, inner);
                return writeln!(
                    svg,
                    "<path d=\"M{x:.1} {y:.1}A{inner} {inner} 0 0 1 {far_x:.1} {far_y:.1}\
                     A{inner} {inner} 0 0 1 {to_x:.1} {to_y:.1}\" {style}/>"
                );
            }
            let long = u8::from(turn > 0.5);
            return writeln!(
                svg,
                "<path d=\"M{x:.1} {y:.1}A{inner} {inner} 0 {long} 1 {to_x:.1} {to_y:.1}\" {style}/>"
            );
        }
        let bend = match arrow.line {
            Line::Successor => 0.6,
            Line::Predecessor => 0.8,
            Line::Finger => 0.35,
        };
        let (mid_x, mid_y) = ((x + to_x) / 2.0 * bend, (y + to_y) / 2.0 * bend);
        writeln!(
            svg,
            "<path d=\"M{x:.1} {y:.1}Q{mid_x:.1} {mid_y:.1} {to_x:.1} {to_y:.1}\" {style}/>"
        )
    }
}

const FINGER: &str = "#88b";
const PREDECESSOR: &str = "#b63";

fn style(colour: &str, width: &str, dashes: &str) -> String {
    let head = colour.trim_start_matches('#');
    format!(
        "fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\" stroke-dasharray=\"{dashes}\" \
         marker-end=\"url(#{head})\""
    )
}

fn write_spot(svg: &mut String, spot: &Spot) -> Result {
    let (x, y) = at(spot.place, radius(spot.ring));
    let (size, colour) = (size(spot), colour(spot.ring));
    writeln!(
        svg,
        "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{size:.1}\" fill=\"{colour}\" stroke=\"#fff\">\
         <title>{}</title></circle>",
        escape(&spot.label)
    )
}

fn write_label(svg: &mut String, spot: &Spot, side: f64, y: f64) -> Result {
    let distance = RADIUS + 22.0;
    let x = side * (distance.powi(2) - y.powi(2)).max(0.0).sqrt().max(10.0);
    let (spot_x, spot_y) = at(spot.place, radius(spot.ring) + size(spot));
    let anchor = if side > 0.0 { "start" } else { "end" };
    writeln!(
        svg,
        "<path d=\"M{spot_x:.1} {spot_y:.1}L{x:.1} {y:.1}\" stroke=\"#ccc\" fill=\"none\"/>\
         <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\" fill=\"{}\">{}</text>",
        x + side * 3.0,
        y + 4.0,
        colour(spot.ring),
        escape(&spot.label)
    )
}

fn size(spot: &Spot) -> f64 {
    4.0 + f64::from(spot.weight.min(100)).sqrt()
}

fn colour(ring: usize) -> &'static str {
    COLOURS[ring.min(RINGS_MAX - 1)]
}

fn radius(ring: usize) -> f64 {
    RADIUS - RING_STEP * as_float(ring.min(RINGS_MAX - 1))
}

#[expect(clippy::cast_precision_loss, reason = "so few that each has its number")]
fn as_float(count: usize) -> f64 {
    count as f64
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

    fn picture(places: &[(f64, usize)], successors: &[(usize, usize)]) -> String {
        let mut picture = Picture::new("two & <more>", true);
        for (place, ring) in places {
            let label = format!("at {place}");
            picture.spot(Spot { place: *place, label, weight: 4, ring: *ring });
        }
        for (from, to) in successors {
            picture.arrow(Arrow { from: *from, to: *to, line: Line::Successor });
        }
        picture.to_svg()
    }

    fn is_red(svg: &str) -> bool {
        svg.contains("successor that skips others")
    }

    #[test]
    fn a_picture_holds_its_nodes_and_pointers() {
        let svg = picture(&[(0.0, 0), (0.25, 0)], &[(0, 1), (1, 0)]);
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert!(svg.contains("two &amp; &lt;more&gt;"));
        assert!(svg.contains("cx=\"0.0\" cy=\"-230.0\"") && svg.contains("cx=\"230.0\""));
        assert_eq!(svg.matches("marker-end").count(), 2);
        assert!(!is_red(&svg));
        assert!(!is_red(&picture(&[(0.5, 0)], &[(0, 0)])), "alone");
    }

    #[test]
    fn whoever_is_skipped_in_its_own_ring_makes_the_pointer_red() {
        let places = [(0.0, 0), (0.25, 0), (0.5, 0), (0.75, 0)];
        assert!(!is_red(&picture(&places, &[(0, 1), (1, 2), (2, 3), (3, 0)])));
        assert!(is_red(&picture(&places, &[(0, 2), (2, 1), (1, 3), (3, 0)])), "it winds twice");
        assert!(is_red(&picture(&places, &[(0, 1), (1, 2), (2, 3), (3, 3)])), "one is alone");
        let two = [(0.0, 0), (0.25, 1), (0.5, 0), (0.75, 1)];
        assert!(!is_red(&picture(&two, &[(0, 2), (2, 0), (1, 3), (3, 1)])), "two whole rings");
        assert!(is_red(&picture(&two, &[(0, 2), (2, 1), (1, 3), (3, 1)])), "from one to the other");
    }
}
