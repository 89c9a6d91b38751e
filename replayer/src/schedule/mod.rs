//! When each call is due, on an absolute clock: as recorded, without idle stretches that are too long, and as much faster as was asked
//! for.

pub(crate) mod clock;
pub(crate) mod order;
pub(crate) mod streams;
pub(crate) mod timer;

use std::time::Duration;

use critape_calls::Stamp;

use crate::recording::polls::Collapsed;
use crate::recording::script::{Entry, Role};
use crate::replay::{Config, Pace};

/// The longest idle stretch before and after a call that only goes along with others.
const IDLE_ALONG: Duration = Duration::from_secs(1);

/// When each call is due.
#[derive(Debug)]
pub(crate) struct Schedule {
    /// From the beginning, by place in the script.
    due: Vec<Duration>,
    /// When the calls were recorded.
    starts: Vec<Stamp>,
    speed: f64,
    max_idle: Duration,
    /// Whether less time passes than in the recording.
    pub(crate) is_shorter: bool,
}

impl Schedule {
    /// `calls` are in the order of their starts.
    pub(crate) fn of(calls: &[Entry], collapsed: &Collapsed, config: &Config) -> Self {
        let speed = match config.pace {
            Pace::Recorded(speed) if speed > 0.0 => speed,
            _ => 1.0,
        };
        let first = calls.first().map_or(Stamp(0), |call| call.started);
        let (mut busy_until, mut left_out, mut role) = (first, Duration::ZERO, Role::Meant);
        // The last call that is sent: when it began, and when it is due.
        let mut last = (first, Duration::ZERO);
        let mut due = Vec::with_capacity(calls.len());
        for (index, call) in calls.iter().enumerate() {
            if collapsed.is_collapsed(index) {
                let since = call.started.since(last.0).min(config.max_idle);
                due.push(last.1 + since.div_f64(speed));
                continue;
            }
            let idle = call.started.since(busy_until);
            // What goes along has no pace of its own.
            let before = std::mem::replace(&mut role, call.role);
            let is_beside = [before, call.role].contains(&Role::GoesAlong);
            let most = if is_beside { config.max_idle.min(IDLE_ALONG) } else { config.max_idle };
            left_out += idle.saturating_sub(most);
            let end = if call.is_event_stream { call.started } else { call.ended };
            busy_until = busy_until.max(end);
            last = (call.started, call.started.since(first).saturating_sub(left_out).div_f64(speed));
            due.push(last.1);
        }
        let recorded = matches!(config.pace, Pace::Recorded(speed) if speed <= 1.0);
        let starts = calls.iter().map(|call| call.started).collect();
        Self { due, starts, speed, max_idle: config.max_idle, is_shorter: !recorded || !left_out.is_zero() }
    }

    /// The time from the beginning at which this call is due.
    pub(crate) fn due(&self, index: usize) -> Duration {
        self.due[index]
    }

    /// The time from the beginning at which this recorded moment is due, for what is no call's start.
    pub(crate) fn due_at(&self, at: Stamp) -> Duration {
        let after = self.starts.partition_point(|started| *started <= at);
        match after.checked_sub(1) {
            Some(index) => {
                let since = at.since(self.starts[index]).min(self.max_idle);
                self.due[index] + since.div_f64(self.speed)
            }
            None => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use cri::endpoint::Endpoints;
    use cri::{Endpoint, v1};
    use critape_calls::Call;

    use super::*;
    use crate::made_up::{call, ms};

    fn poll(id: u64, at: u64) -> Call {
        let (asked, said) = (v1::StatusRequest::default(), v1::StatusResponse::default());
        call(id, "Status", (at, at + 10), &asked, &said)
    }

    /// When each of these is due, in milliseconds.
    fn due(calls: &[Call], pace: Pace, max_idle: u64) -> (Vec<u128>, Schedule) {
        let rules = critape_differ::Rules::standard();
        let mut polls = crate::recording::polls::Polls::new(&rules);
        calls.iter().for_each(|call| polls.see(call));
        let entries: Vec<Entry> = calls.iter().map(Entry::of).collect();
        let max_idle = Duration::from_millis(max_idle);
        let endpoint = Endpoint::at("/run/x.sock").unwrap_or_else(|_| unreachable!());
        let config = Config { pace, max_idle, ..Config::new(Endpoints::both_at(endpoint)) };
        let schedule = Schedule::of(&entries, &polls.collapse(&entries), &config);
        ((0..calls.len()).map(|index| schedule.due(index).as_millis()).collect(), schedule)
    }

    #[test]
    fn the_clock_is_absolute_and_idle_stretches_are_cut() {
        let calls = [poll(1, 0), poll(2, 100), poll(3, 1110)];
        let (at, schedule) = due(&calls, Pace::Recorded(1.0), 5000);
        assert_eq!((at, schedule.is_shorter), (vec![0, 100, 1110], false));
        let (at, schedule) = due(&calls, Pace::Recorded(2.0), 5000);
        assert_eq!((at, schedule.is_shorter), (vec![0, 50, 555], true));
        let (at, schedule) = due(&calls, Pace::Recorded(1.0), 300);
        assert_eq!((at, schedule.is_shorter), (vec![0, 100, 410], true), "from the end of the call before");
        assert_eq!(schedule.due_at(Stamp(ms(1150))), Duration::from_millis(450));
    }

    #[test]
    fn what_goes_along_has_no_pace() {
        let (along, meant) = (Role::GoesAlong, Role::Meant);
        let entries = [(0, along), (5000, along), (5100, along), (9000, meant), (15_000, meant)]
            .map(|(at, role)| Entry { role, ..Entry::of(&poll(1, at)) });
        let endpoint = Endpoint::at("/run/x.sock").unwrap_or_else(|_| unreachable!());
        let config = Config::new(Endpoints::both_at(endpoint));
        let schedule = Schedule::of(&entries, &Collapsed::default(), &config);
        let due: Vec<u128> = (0..5).map(|index| schedule.due(index).as_millis()).collect();
        assert_eq!((due, schedule.is_shorter), (vec![0, 1010, 1110, 2120, 8120], true));
    }

    #[test]
    fn polls_that_say_nothing_are_idle_time() {
        let calls: Vec<Call> = (0..=16).map(|second| poll(second + 1, second * 1000)).collect();
        let (at, _) = due(&calls, Pace::Recorded(1.0), 1500);
        // Sent are those of 0, 1, 2, 4, 8 and 16 s.
        assert_eq!([at[2], at[4], at[8], at[16]], [2000, 3510, 5020, 6530]);
        assert!(at.is_sorted(), "{at:?}");
    }
}
