//! How values are written on the command line.

use std::time::Duration;

use overflow_lab::scenarios::Scenario;

/// `200ms`, `1.5s`; a bare number means seconds.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    duration(text, 1.0)
}

/// `200ms`, `1.5s`; a bare number means milliseconds.
pub(super) fn milliseconds(text: &str) -> Result<Duration, String> {
    duration(text, 1e-3)
}

fn duration(text: &str, bare: f64) -> Result<Duration, String> {
    const LONGEST: f64 = 86_400.0;
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = match unit {
        "" => bare,
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        other => return Err(format!("unknown unit `{other}`: use us, ms, s, m or h")),
    };
    let number: f64 =
        number.trim().parse().map_err(|_| "expected a time such as 200ms".to_owned())?;
    let seconds = number * unit;
    if (0.0..=LONGEST).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("expected a time between 0 and 24h".to_owned())
    }
}

/// Bytes: `64K`, `8M`; from a page to 256 MiB.
pub(super) fn bytes(text: &str) -> Result<u32, String> {
    const MOST: u32 = 256 << 20;
    let (number, unit) = match text.strip_suffix(['K', 'M']) {
        Some(number) if text.ends_with('K') => (number, 1 << 10),
        Some(number) => (number, 1 << 20),
        None => (text, 1),
    };
    let bytes = number.parse::<u32>().ok().and_then(|n| n.checked_mul(unit));
    let fits = bytes.filter(|bytes| (4096..=MOST).contains(bytes));
    fits.ok_or_else(|| "expected a size between 4K and 256M, such as 8M".to_owned())
}

/// A setting that a lab can run at several values: `0`, `1`, `both`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Choice(pub Vec<u8>);

/// `tcp_abort_on_overflow`: `0`, `1` or `both`.
pub(super) fn abort(text: &str) -> Result<Choice, String> {
    match text {
        "0" => Ok(Choice(vec![0])),
        "1" => Ok(Choice(vec![1])),
        "both" => Ok(Choice(vec![0, 1])),
        _ => Err("expected 0, 1 or both".to_owned()),
    }
}

/// `tcp_syncookies`: `0`, `1`, `2` or `both` (1 and 0).
pub(super) fn syncookies(text: &str) -> Result<Choice, String> {
    match text {
        "0" => Ok(Choice(vec![0])),
        "1" => Ok(Choice(vec![1])),
        "2" => Ok(Choice(vec![2])),
        "both" => Ok(Choice(vec![1, 0])),
        _ => Err("expected 0, 1, 2 or both".to_owned()),
    }
}

/// A scenario's name, or `all`.
pub(super) fn scenario(text: &str) -> Result<String, String> {
    if text == "all" || Scenario::find(text).is_some() {
        return Ok(text.to_owned());
    }
    Err("there is no such scenario; `overflow lab --list-scenarios` names them".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(milliseconds("200ms"), Ok(Duration::from_millis(200)));
        assert_eq!(milliseconds("200"), Ok(Duration::from_millis(200)));
        assert_eq!(seconds("8"), Ok(Duration::from_secs(8)));
        assert_eq!(seconds("0.5m"), Ok(Duration::from_secs(30)));
        for bad in ["", "x", "-1s", "3 parsecs", "1e9h", "NaN", "inf"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(bytes("4096"), Ok(4096));
        assert_eq!((bytes("64K"), bytes("256M")), (Ok(65_536), Ok(268_435_456)));
        for bad in ["", "K", "1K", "257M", "8G", "-8M", "99999999999M", "4294967295K"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn choices() {
        assert_eq!(abort("both"), Ok(Choice(vec![0, 1])));
        assert_eq!(syncookies("2"), Ok(Choice(vec![2])));
        assert!(abort("2").is_err() && syncookies("3").is_err());
    }
}
