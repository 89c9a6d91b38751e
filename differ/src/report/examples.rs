//! Which occurrences of a finding are kept.

use crate::Example;

/// Examples kept of one finding.
pub(crate) const MAX_EXAMPLES: usize = 5;

/// Whether no further example can be of use: there are as many as are kept, and no two are the same.
pub(crate) fn are_enough(examples: &[Example]) -> bool {
    examples.len() == MAX_EXAMPLES
        && examples.iter().enumerate().all(|(at, example)| !examples[..at].iter().any(|it| same(it, example)))
}

/// Keeps an example: different ones push out repeated ones.
pub(crate) fn keep(examples: &mut Vec<Example>, example: Example) {
    let is_new = !examples.iter().any(|other| same(other, &example));
    let repeated: Vec<usize> =
        (0..examples.len()).filter(|at| examples[..*at].iter().any(|it| same(it, &examples[*at]))).collect();
    match (is_new, repeated.first(), repeated.last()) {
        (true, Some(first), Some(last)) if examples.len() == MAX_EXAMPLES => {
            let first = *first;
            examples.remove(*last);
            examples.insert(first, example);
        }
        (true, Some(first), _) => examples.insert(*first, example),
        _ if examples.len() < MAX_EXAMPLES => examples.push(example),
        _ => {}
    }
}

fn same(one: &Example, other: &Example) -> bool {
    one.recorded == other.recorded && one.live == other.live
}
