//! What containers and pods use: made up, plausible, and different at each look.

use cri::v1;

use crate::random::Random;

const MIB: u64 = 1024 * 1024;

/// Counters of one container or pod. Those that count never go back.
#[derive(Clone, Debug)]
pub(crate) struct Usage {
    cpu_ns: u64,
    seen_ns: i64,
    page_faults: u64,
    memory: u64,
    received: u64,
    sent: u64,
}

/// One look at the counters.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub cpu: v1::CpuUsage,
    pub memory: v1::MemoryUsage,
    /// Of the pod's `eth0`.
    pub network: v1::NetworkUsage,
}

impl Usage {
    /// Counters that begin at `now`.
    pub(crate) fn beginning(now: i64, random: &mut Random) -> Self {
        Self {
            cpu_ns: 5_000_000 + random.below(20_000_000),
            seen_ns: now,
            page_faults: 500 + random.below(500),
            memory: MIB / 2 + random.below(8 * MIB),
            received: 0,
            sent: 0,
        }
    }

    /// Nanoseconds of a core used so far, as of the last look.
    pub(crate) fn cpu_ns(&self) -> u64 {
        self.cpu_ns
    }

    /// Moves the counters on to `now` and reads them.
    pub(crate) fn sample(&mut self, now: i64, memory_limit: i64, random: &mut Random) -> Sample {
        let elapsed = u64::try_from(now - self.seen_ns).unwrap_or(0);
        // Some thousandths of a core.
        let used = 10_000 + elapsed / 1000 * random.below(5) + random.below(10_000);
        let nano_cores = used.saturating_mul(1_000_000_000) / elapsed.max(1_000_000_000);
        self.cpu_ns += used;
        self.seen_ns = self.seen_ns.max(now);
        self.page_faults += 1 + random.below(50);
        self.received += 60 + random.below(4000);
        self.sent += 60 + random.below(4000);
        let resident = self.memory + random.below(MIB / 4);
        Sample {
            cpu: v1::CpuUsage {
                timestamp: now,
                usage_core_nano_seconds: Some(number(self.cpu_ns)),
                usage_nano_cores: Some(number(nano_cores)),
                psi: None,
            },
            memory: self.memory(now, resident, memory_limit),
            network: self.network(now),
        }
    }

    fn memory(&self, now: i64, resident: u64, limit: i64) -> v1::MemoryUsage {
        let working_set = resident + MIB / 8;
        let available = u64::try_from(limit).unwrap_or(0).saturating_sub(working_set);
        v1::MemoryUsage {
            timestamp: now,
            working_set_bytes: Some(number(working_set)),
            available_bytes: Some(number(available)),
            usage_bytes: Some(number(working_set + MIB / 4)),
            rss_bytes: Some(number(resident)),
            page_faults: Some(number(self.page_faults)),
            major_page_faults: Some(number(self.page_faults / 100)),
            psi: None,
        }
    }

    fn network(&self, now: i64) -> v1::NetworkUsage {
        let interface = v1::NetworkInterfaceUsage {
            name: "eth0".to_owned(),
            rx_bytes: Some(number(self.received)),
            rx_errors: Some(number(0)),
            tx_bytes: Some(number(self.sent)),
            tx_errors: Some(number(0)),
        };
        v1::NetworkUsage { timestamp: now, default_interface: Some(interface), interfaces: Vec::new() }
    }
}

pub(crate) fn number(value: u64) -> v1::UInt64Value {
    v1::UInt64Value { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_grow_at_each_look() {
        let mut random = Random::from_seed(3);
        let mut usage = Usage::beginning(1_000, &mut random);
        let mut last = usage.sample(2_000, 0, &mut random);
        for turn in 0..50 {
            // Even if the clock stands still.
            let next = usage.sample(2_000 + turn / 10, 0, &mut random);
            assert!(
                next.cpu.usage_core_nano_seconds.unwrap().value
                    > last.cpu.usage_core_nano_seconds.unwrap().value
            );
            assert!(next.memory.page_faults.unwrap().value > last.memory.page_faults.unwrap().value);
            last = next;
        }
        assert!(last.cpu.usage_nano_cores.unwrap().value < 1_000_000_000);
    }
}
