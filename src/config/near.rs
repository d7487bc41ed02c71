//! Words that were perhaps meant instead of one that is wrong.

/// Those that differ from a word in so little that it may be a slip, or that it begins: at most three.
pub(crate) fn near<'a>(word: &str, candidates: impl Iterator<Item = &'a str> + Clone) -> Vec<&'a str> {
    let slips = slips(word, candidates.clone());
    if !slips.is_empty() {
        return slips;
    }
    // `threshold` for `threshold_percent`, `targets_list` for `targets`.
    let bare = bare(word);
    let begins = |candidate: &&str| {
        let other = self::bare(candidate);
        (bare.len() >= 4 && other.starts_with(&bare)) || (other.len() >= 4 && bare.starts_with(&other))
    };
    let found: Vec<&str> = candidates.filter(begins).collect();
    // What begins many words says nothing.
    if found.len() > 3 { vec![] } else { found }
}

/// Those that differ from a word in a slip or two: a letter too many, too few, wrong or at the wrong place, the case,
/// or `-` for `_`. Numbers tell names apart on purpose: `vg1` is no slip of `vg2`.
pub(crate) fn slips<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let (bare_word, numbers) = (bare(word), digits(word));
    let mut found: Vec<(usize, &str)> = candidates
        .filter(|candidate| *candidate != word && digits(candidate) == numbers)
        .map(|candidate| (distance(&bare_word, &bare(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= allowed(word.chars().count().min(candidate.chars().count())))
        .collect();
    found.sort_by_key(|(distance, _)| *distance);
    let best = found.first().map_or(0, |(distance, _)| *distance);
    found.into_iter().filter(|(distance, _)| *distance == best).map(|(_, candidate)| candidate).take(3).collect()
}

/// `a`, `b` or `c`.
pub(crate) fn listed(words: &[impl AsRef<str>]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{}`", word.as_ref())).collect();
    match quoted.as_slice() {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// Of short words any two are near.
fn allowed(length: usize) -> usize {
    match length {
        0..=3 => 0,
        4..=7 => 1,
        8..=14 => 2,
        _ => 3,
    }
}

fn bare(word: &str) -> String {
    word.chars().filter(|c| !matches!(c, '-' | '_' | ' ' | '.')).flat_map(char::to_lowercase).collect()
}

fn digits(word: &str) -> String {
    word.chars().filter(char::is_ascii_digit).collect()
}

/// How many letters have to be added, taken away, replaced or exchanged with their neighbour.
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    // Names are short; what is long is near nothing.
    if one.len().max(other.len()) > 128 {
        return usize::MAX;
    }
    let mut rows = vec![(0..=other.len()).collect::<Vec<usize>>()];
    for (i, a) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let mut best = (rows[i][j + 1] + 1).min(row[j] + 1).min(rows[i][j] + usize::from(a != b));
            if i > 0 && j > 0 && *a == other[j - 1] && one[i - 1] == *b {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[one.len()][other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_keys_and_names() {
        let keys =
            ["threshold_percent", "inode_threshold_percent", "min_increment", "max_increment", "mode", "monitor"];
        for (word, meant) in [
            ("treshold_percent", "threshold_percent"),
            ("Threshold_Percent", "threshold_percent"),
            ("thresholdPercent", "threshold_percent"),
            ("threshold-percent", "threshold_percent"),
            ("threshold", "threshold_percent"),
            ("monitors", "monitor"),
            ("mdoe", "mode"),
            ("min_incremnet", "min_increment"),
        ] {
            assert_eq!(near(word, keys.iter().copied()), [meant], "{word}");
        }
        for word in ["x", "slack", "备注", "", "percent"] {
            assert!(near(word, keys.iter().copied()).is_empty(), "{word}");
        }
        assert_eq!(slips("storage-vg", ["storage_vg", "root_vg"].into_iter()), ["storage_vg"]);
        for (word, other) in [("vg1", "vg2"), ("data_vg1", "data_vg2"), ("vg0", "vgs"), ("data", "root"), ("vg", "vg")]
        {
            assert!(slips(word, [other].into_iter()).is_empty(), "{word} is no slip of {other}");
        }
    }
}
