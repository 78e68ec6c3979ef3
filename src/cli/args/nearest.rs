//! What somebody who mistyped a word may have meant.

/// The candidate that differs from `word` the least, if by few enough strokes to be meant.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let word: Vec<char> = word.chars().collect();
    candidates
        .into_iter()
        .filter(|candidate| candidate.len().abs_diff(word.len()) <= STROKES_MAX)
        .map(|candidate| (strokes(&word, &candidate.chars().collect::<Vec<_>>()), candidate))
        .filter(|&(strokes, candidate)| strokes <= STROKES_MAX.min(candidate.len() / 3))
        .min()
        .map(|(_, candidate)| candidate)
}

/// More strokes than these are another word.
const STROKES_MAX: usize = 2;

/// Letters to put in, take out, change or swap with their neighbour to come from one word to the
/// other (the optimal string alignment distance).
fn strokes(from: &[char], to: &[char]) -> usize {
    let mut rows: Vec<Vec<usize>> = vec![(0..=to.len()).collect()];
    for (i, a) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let changed = rows[i][j] + usize::from(a != b);
            let mut least = changed.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == to[j - 1] && from[i - 1] == *b {
                least = least.min(rows[i - 1][j - 1] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_understood_and_another_word_is_not() {
        let candidates = ["download", "seed", "show", "--peer", "--dir"];
        let table = [
            ("dowload", Some("download")),
            ("donwlaod", Some("download")),
            ("sede", Some("seed")),
            ("shwo", Some("show")),
            ("--pere", Some("--peer")),
            ("--dri", Some("--dir")),
            ("upload", None),
            ("--join", None),
            ("", None),
            ("名前", None),
        ];
        for (word, meant) in table {
            assert_eq!(nearest(word, candidates), meant, "{word}");
        }
    }
}
