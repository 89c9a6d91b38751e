//! Values of flags: durations, sizes, times, endpoints, shares.

use std::time::Duration;

use cri::Endpoint;
use critape_calls::{CallId, Stamp};
use critape_simulator::Variant;

/// The longest duration: moments that lie further away can't be told by every clock.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// A duration as `250ms`, `5s`, `2m`, `1h30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let parsed: jiff::SignedDuration =
        text.parse().map_err(|_| format!("{text:?} is not a duration: write it as 250ms, 5s or 2m"))?;
    let duration = Duration::try_from(parsed)
        .map_err(|_| format!("{text:?} is negative: write it as 250ms, 5s or 2m"))?;
    if duration > LONGEST {
        return Err(format!("{text:?} is too long: write a hundred years (876000h) or less"));
    }
    Ok(duration)
}

/// How long something is waited for that takes longer than it did.
pub(crate) fn patience(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => {
            Err("no time gives up every call that takes a moment longer than it did: write 30s or 5m"
                .to_owned())
        }
        patience => Ok(patience),
    }
}

/// A duration as [`duration`] reads it, to the nanosecond.
pub(crate) fn duration_text(duration: Duration) -> String {
    match duration.as_nanos() {
        nanos if nanos.is_multiple_of(1_000_000_000) => format!("{}s", nanos / 1_000_000_000),
        nanos if nanos.is_multiple_of(1_000_000) => format!("{}ms", nanos / 1_000_000),
        nanos => format!("{nanos}ns"),
    }
}

/// A number of bytes as `64MiB`, `1G`, `4096`. Powers of 1024, with or without the `iB`.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a size: write it as 64MiB, 1GiB or a number of bytes");
    let split = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let shift = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(wrong()),
    };
    number.checked_mul(1 << shift).ok_or_else(|| format!("{text:?} is too large"))
}

/// Memory for messages that wait.
pub(crate) fn memory(text: &str) -> Result<u64, String> {
    match size(text)? {
        0 => Err("no memory keeps no message: give it 20MiB or so".to_owned()),
        bytes => Ok(bytes),
    }
}

/// A moment: RFC 3339, or a duration before now.
pub(crate) fn moment(text: &str) -> Result<Stamp, String> {
    let wrong =
        || format!("{text:?} is not a time: write it as 2026-01-31T12:00:00Z, or as 10m for ten minutes ago");
    let time = match text.parse::<jiff::Timestamp>() {
        Ok(time) => time,
        Err(_) => {
            let ago: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
            jiff::Timestamp::now().checked_sub(ago).map_err(|_| wrong())?
        }
    };
    u64::try_from(time.as_nanosecond()).map(Stamp).map_err(|_| format!("{text:?} lies before 1970"))
}

/// A variant of the simulator.
pub(crate) fn variant(text: &str) -> Result<Variant, String> {
    Variant::ALL.into_iter().find(|variant| variant.name() == text).ok_or_else(|| {
        let names = Variant::ALL.map(Variant::name).join(", ");
        format!("no variant is called {text:?}: there are {names}")
    })
}

/// Now.
pub(crate) fn now() -> Stamp {
    Stamp(u64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or_default())
}

/// A factor above zero.
pub(crate) fn speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        // At the ends a day takes millions of years, and none at all.
        Ok(speed) if (1e-9..=1e9).contains(&speed) => Ok(speed),
        _ => Err(format!("{text:?} is not a speed: write a number above 0, as 2 for twice as fast")),
    }
}

/// A share of a hundred, as `1%`.
pub(crate) fn share(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').parse::<f64>() {
        Ok(share) if (0.0..=100.0).contains(&share) => Ok(share / 100.0),
        _ => Err(format!("{text:?} is not a share: write it as 1%")),
    }
}

/// The number of a call.
pub(crate) fn call(text: &str) -> Result<CallId, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not the number of a call: `critape tape show TAPE` lists them"))
}

/// An endpoint.
pub(crate) fn endpoint(text: &str) -> Result<Endpoint, String> {
    text.parse().map_err(|error: cri::endpoint::EndpointError| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_sizes_and_shares_are_read() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert!(duration("soon").is_err() && duration("-5s").is_err());
        assert!(duration("876000h").is_ok() && duration("876001h").is_err());
        assert!(patience("1ns").is_ok() && patience("0").is_err() && patience("0s").is_err());
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("4096"), Ok(4096));
        assert!(size("").is_err() && size("4x").is_err() && size("99999999999T").is_err());
        assert_eq!(share("1%"), Ok(0.01));
        assert!(speed("1e-30").is_err() && speed("0.0000001").is_ok());
        assert!(share("101%").is_err() && speed("0").is_err() && speed("nan").is_err());
    }

    #[test]
    fn moments_are_absolute_or_ago() {
        assert_eq!(moment("1970-01-01T00:00:01Z"), Ok(Stamp(1_000_000_000)));
        assert!(moment("10m").unwrap() < moment("1s").unwrap());
        assert!(moment("yesterday").is_err());
    }
}
