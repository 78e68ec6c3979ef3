//! Patterns of file names: `*` is any run of characters, `?` any one, `[a-z]` one of a set and
//! `[!a-z]` one that is not in it. None of them stands for a `/`. There is no escape; `[*]` is a
//! star.

/// Whether the whole text fits the pattern. Takes at most pattern × text steps.
pub(super) fn fits(pattern: &str, text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let pattern = read(pattern);
    let (mut p, mut t) = (0, 0);
    // Where to go on when what follows the last star does not fit: it then takes one more.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(Part::Star) => {
                retry = Some((p + 1, t));
                p += 1;
                continue;
            }
            Some(Part::One(set)) if set.has(text[t]) => {
                p += 1;
                t += 1;
                continue;
            }
            Some(Part::One(_)) | None => {}
        }
        match retry {
            Some((after_star, taken)) if text[taken] != '/' => {
                retry = Some((after_star, taken + 1));
                (p, t) = (after_star, taken + 1);
            }
            Some(_) | None => return false,
        }
    }
    pattern[p..].iter().all(|part| matches!(part, Part::Star))
}

enum Part {
    Star,
    One(Set),
}

/// One character: one of these ranges, or none of them.
struct Set {
    ranges: Vec<(char, char)>,
    negated: bool,
}

impl Set {
    fn has(&self, c: char) -> bool {
        // A slash is in a set only where it is written.
        let holds = |&(first, last): &(char, char)| {
            (first..=last).contains(&c) && (c != '/' || first == last)
        };
        self.ranges.iter().any(holds) != self.negated && (c != '/' || !self.negated)
    }
}

fn read(pattern: &str) -> Vec<Part> {
    let chars: Vec<char> = pattern.chars().collect();
    let mut parts = Vec::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let (part, next) = match c {
            '*' => (Part::Star, at + 1),
            '?' => (Part::One(Set { ranges: Vec::new(), negated: true }), at + 1),
            '[' => read_set(&chars, at).unwrap_or_else(|| (literal(c), at + 1)),
            _ => (literal(c), at + 1),
        };
        parts.push(part);
        at = next;
    }
    parts
}

fn literal(c: char) -> Part {
    Part::One(Set { ranges: vec![(c, c)], negated: false })
}

/// The set that begins with the bracket at `at`, and what comes after it; `None` if no bracket
/// closes it. A `]` in the first place is one of the set.
fn read_set(chars: &[char], at: usize) -> Option<(Part, usize)> {
    let negated = matches!(chars.get(at + 1), Some('!' | '^'));
    let first = at + 1 + usize::from(negated);
    let close = first + 1 + chars.get(first + 1..)?.iter().position(|&c| c == ']')?;
    let mut ranges = Vec::new();
    let mut inside = &chars[first..close];
    while let [low, rest @ ..] = inside {
        (ranges, inside) = match rest {
            ['-', high, rest @ ..] => (pushed(ranges, (*low, *high)), rest),
            _ => (pushed(ranges, (*low, *low)), rest),
        };
    }
    Some((Part::One(Set { ranges, negated }), close + 1))
}

fn pushed<T>(mut list: Vec<T>, item: T) -> Vec<T> {
    list.push(item);
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::rng::Rng;

    #[test]
    fn patterns() {
        let table = [
            // pattern, texts that fit, texts that do not
            ("a.txt", "a.txt", "b.txt a.txt2 aa.txt"),
            ("*.txt", "a.txt .txt a.b.txt", "a.tx txt d/a.txt a.txt/b"),
            ("*", "a abc", "a/b"),
            ("a*b*c", "abc aXbYc abcbc", "ab abcb a/bc acb"),
            ("d/*", "d/a d/", "d d/a/b"),
            ("?.t", "a.t é.t", ".t ab.t /.t"),
            ("[abc]x", "ax cx", "dx x"),
            ("[a-c0-9]", "b 5", "d -"),
            ("[!a-c]", "d -", "a / dd"),
            ("[^a]", "b", "a"),
            ("[]x]", "] x", "y"),
            ("[a-]", "a -", "b"),
            ("[*]", "*", "a"),
            ("[a", "[a", "a"),
            ("a[/]b", "a/b", "ab"),
            ("a[.-0]b", "a.b a0b", "a/b"),
            ("**.o", "a.o", "d/a.o"),
            ("", "", "a"),
        ];
        for (pattern, fitting, others) in table {
            assert!(fitting.split(' ').all(|text| fits(pattern, text)), "{pattern}: {fitting}");
            assert!(!others.split(' ').any(|text| fits(pattern, text)), "{pattern}: {others}");
        }
    }

    /// Tries every length for every star.
    fn fits_plainly(pattern: &[Part], text: &[char]) -> bool {
        match (pattern, text) {
            ([], _) => text.is_empty(),
            ([Part::Star, rest @ ..], _) => {
                let takes_one = |(c, after): (&char, _)| *c != '/' && fits_plainly(pattern, after);
                fits_plainly(rest, text) || text.split_first().is_some_and(takes_one)
            }
            ([Part::One(set), rest @ ..], [c, after @ ..]) => {
                set.has(*c) && fits_plainly(rest, after)
            }
            ([Part::One(_), ..], []) => false,
        }
    }

    #[test]
    fn whatever_fits_fits_plainly() {
        let mut rng = Rng::new(1);
        let mut any = |letters: &str, most| -> String {
            let letters: Vec<char> = letters.chars().collect();
            let most_letters = u32::try_from(letters.len()).unwrap();
            (0..rng.below(most)).map(|_| letters[rng.below(most_letters) as usize]).collect()
        };
        let mut fitting = 0;
        for _ in 0..20_000 {
            let (pattern, text) = (any("aab*?[]!-^/", 8), any("aab/]-é", 7));
            let chars: Vec<char> = text.chars().collect();
            let wanted = fits_plainly(&read(&pattern), &chars);
            assert_eq!(fits(&pattern, &text), wanted, "{pattern} {text}");
            fitting += u32::from(wanted && !text.is_empty());
            assert_eq!(fits("*", &text), !text.contains('/'), "{text}");
            // A name without signs fits itself alone.
            let (one, other) = (text.replace(']', ""), pattern.replace(['[', '*', '?'], ""));
            assert_eq!(fits(&one, &other), one == other, "{one} {other}");
        }
        assert!(fitting > 200, "{fitting}");
    }

    #[test]
    fn many_stars_cost_no_more_than_one() {
        let pattern = "a*".repeat(2_000) + "b";
        assert!(!fits(&pattern, &"a".repeat(20_000)));
    }
}
