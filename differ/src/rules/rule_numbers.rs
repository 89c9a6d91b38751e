//! Rules by number: how often each let a difference pass is counted for every element of every list, which names are too slow for.

use std::collections::{BTreeMap, HashMap};

use foldhash::quality::RandomState;

use crate::Compared;

/// A rule, by the place at which its name was first met.
pub(crate) type RuleNumber = u32;

/// How often rules let a difference pass.
pub(crate) type Counts = Box<[(RuleNumber, u64)]>;

/// The names that have numbers, each with how often an example was given for it.
#[derive(Debug, Default)]
pub(crate) struct RuleNumbers {
    rules: Vec<(String, usize)>,
    numbers: HashMap<String, RuleNumber, RandomState>,
}

impl RuleNumbers {
    pub(crate) fn number(&mut self, rule: &str) -> RuleNumber {
        if let Some(number) = self.numbers.get(rule) {
            return *number;
        }
        let number = u32::try_from(self.rules.len()).unwrap_or(RuleNumber::MAX);
        self.rules.push((rule.to_owned(), 0));
        self.numbers.insert(rule.to_owned(), number);
        number
    }

    pub(crate) fn given(&mut self, number: RuleNumber) -> &mut usize {
        &mut self.rules[number as usize].1
    }

    /// The same counts, by number.
    pub(crate) fn counts(&mut self, passed: &BTreeMap<String, u64>) -> Counts {
        passed.iter().map(|(rule, times)| (self.number(rule), *times)).collect()
    }
}

/// How often each rule let a difference pass.
#[derive(Debug, Default)]
pub(crate) struct Tally(Vec<u64>);

impl Tally {
    pub(crate) fn add(&mut self, rule: RuleNumber, times: u64) {
        let place = rule as usize;
        if place >= self.0.len() {
            self.0.resize(place + 1, 0);
        }
        self.0[place] += times;
    }

    /// Adds what was counted.
    pub(crate) fn tell(&self, numbers: &RuleNumbers, compared: &mut Compared) {
        let counted = numbers.rules.iter().zip(&self.0).filter(|(_, times)| **times > 0);
        counted.for_each(|((rule, _), times)| compared.pass_often(rule, *times));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_come_back_by_name() {
        let mut numbers = RuleNumbers::default();
        let passed = BTreeMap::from([("id".to_owned(), 2), ("usage".to_owned(), 40)]);
        let counts = numbers.counts(&passed);
        assert_eq!(numbers.counts(&passed), counts, "a rule keeps its number");
        let (mut tally, mut compared) = (Tally::default(), Compared::default());
        counts.iter().for_each(|(rule, times)| tally.add(*rule, *times));
        tally.add(numbers.number("usage"), 2);
        numbers.number("another");
        tally.tell(&numbers, &mut compared);
        assert_eq!(compared.passed, BTreeMap::from([("id".to_owned(), 2), ("usage".to_owned(), 42)]));
    }
}
