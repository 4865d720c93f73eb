//! How full a home is, asked of a program that runs as its owner: the daemon can look into nobody's home, and only a
//! person may read the own quota.

use std::collections::BTreeMap;
use std::time::Duration;

use hubd_proto::message::{Listen, Start};
use hubd_proto::{ProfileName, ServerName};

use super::StartRequest;
use crate::Hub;
use crate::helper::Event;

/// The profile of root's policy whose program prints it, and the name of its session. A policy without it is as good,
/// only that no numbers are told.
const PROFILE: &str = "room";
/// Longest wait for that program: a file server that does not answer must not keep a failed start pending.
const LIMIT: Duration = Duration::from_secs(5);
/// What is left of a full home at most, in bytes, and as a part of it.
const LEFT_BYTES: u64 = 1 << 30;
const LEFT_PART: u64 = 100;

/// How much of its room a home has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    /// Whether it is the person's own share, or that of all whose homes are on the same disk.
    pub is_own: bool,
    /// Bytes.
    pub used: u64,
    /// Bytes that there are for its owner.
    pub total: u64,
}

impl Room {
    /// Reads a line: `quota` or `disk`, then bytes used and bytes in all.
    fn read(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let is_own = match words.next()? {
            "quota" => true,
            "disk" => false,
            _ => return None,
        };
        let mut number = || words.next()?.parse().ok();
        let room = Self { is_own, used: number()?, total: number()? };
        (words.next().is_none() && room.total > 0).then_some(room)
    }

    fn is_full(self) -> bool {
        self.total.saturating_sub(self.used) <= (self.total / LEFT_PART).min(LEFT_BYTES)
    }

    /// What of the lines is full; the own share before everybody's disk.
    fn full(lines: &[String]) -> Option<Self> {
        let full = lines.iter().filter_map(|line| Self::read(line)).filter(|room| room.is_full());
        full.max_by_key(|room| room.is_own)
    }

    /// Both numbers in one unit of 1024: `10.0` of `10.0 GB`.
    pub fn words(self) -> (String, String) {
        let units = [(40, "TB"), (30, "GB"), (20, "MB")];
        let (shift, unit) =
            units.into_iter().find(|(shift, _)| self.total >> shift > 0).unwrap_or((20, "MB"));
        let tenths = |bytes: u64| {
            let tenths = (u128::from(bytes) * 10) >> shift;
            format!("{}.{}", tenths / 10, tenths % 10)
        };
        (tenths(self.used), format!("{} {unit}", tenths(self.total)))
    }
}

/// Asks how full the home of a start's owner is; nothing if it is not full or cannot be known.
pub(super) async fn of_full_home(hub: &Hub, request: &StartRequest) -> Option<Room> {
    let start = Start {
        user: request.user.clone(),
        ticket: request.ticket.clone(),
        server: ServerName::new(PROFILE).ok()?,
        profile: Some(ProfileName::new(PROFILE).ok()?),
        listen: Listen::Unix,
        arguments: Vec::new(),
        environment: BTreeMap::new(),
        note: String::new(),
    };
    let (_, mut control) = hub.helper.start(Box::new(start), LIMIT).await.ok()?;
    let exited = async {
        loop {
            if let Event::Exited(exited) = control.event().await.ok()? {
                return Some(exited);
            }
        }
    };
    let exited = tokio::time::timeout(LIMIT, exited).await;
    if exited.is_err() {
        // If it hangs, it is ended as any session; nobody waits for that.
        let _ = control.stop().await;
    }
    Room::full(&exited.ok()??.log)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(lines: &[&str]) -> Option<(String, String)> {
        let lines: Vec<String> = lines.iter().map(|&line| line.to_owned()).collect();
        Room::full(&lines).map(Room::words)
    }

    #[test]
    fn a_full_home_is_told_in_one_unit() {
        let gigabytes = format!("quota {} {}", (10_u64 << 30) - 4096, 10_u64 << 30);
        assert_eq!(full(&[&gigabytes]), Some(("9.9".into(), "10.0 GB".into())));
        assert_eq!(full(&["disk 1024 0", "disk 7340032 7340032"]), Some(("7.0".into(), "7.0 MB".into())));
        assert_eq!(full(&["disk 5497558138880 5497558138880"]), Some(("5.0".into(), "5.0 TB".into())));
    }

    #[test]
    fn the_own_share_is_told_before_everybodys_disk() {
        let lines = ["disk 1048576 1048576", "quota 2097152 2097152", "disk 1048576 1048576"];
        assert_eq!(full(&lines), Some(("2.0".into(), "2.0 MB".into())));
    }

    #[test]
    fn what_is_not_full_or_not_clear_is_not_told() {
        for line in
            ["disk 50 100", "disk 10 10 10", "disk -1 10", "disk x y", "df: no", "", "quota 1099511627776"]
        {
            assert_eq!(full(&[line]), None, "{line}");
        }
        let one_percent_of_ten_terabytes = "disk 10900000000000 11000000000000";
        assert_eq!(full(&[one_percent_of_ten_terabytes]), None);
    }
}
