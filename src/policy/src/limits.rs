//! What a server may use, and how that is said to the kernel and to the server.

use serde::Deserialize;

use crate::table::keys;

/// Length of the period in which processor time is counted out, in microseconds; the kernel's default.
const CPU_PERIOD: f64 = 100_000.0;

keys! {
/// What a server may use, of a profile or of a `[group.NAME]`'s members; 0 is no limit.
pub struct Limits {
    pub mem_limit: Bytes = Bytes(0),
    pub mem_guarantee: Bytes = Bytes(0),
    pub cpu_limit: f64 = 0.0,
    pub cpu_guarantee: f64 = 0.0,
    pub tasks_max: u64 = 0,
}
}

/// A size as JupyterHub writes it, such as "2G" or "512M".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Bytes(pub u64);

impl TryFrom<String> for Bytes {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let number = text.trim_end_matches(['K', 'M', 'G', 'T']);
        let unit = match text.strip_prefix(number).unwrap_or_default() {
            "" => Some(0),
            unit => "KMGT".find(unit).and_then(|place| u32::try_from(place + 1).ok()),
        };
        let bytes =
            unit.zip(number.parse::<u64>().ok()).and_then(|(unit, n)| n.checked_mul(1024_u64.pow(unit)));
        bytes.map(Self).ok_or_else(|| format!("{text} is not a size such as \"2G\" or \"512M\""))
    }
}

impl Limits {
    /// These, with what `other` says in its place.
    pub fn with(self, other: &Self) -> Self {
        fn or<T: PartialEq + Default + Copy>(own: T, other: T) -> T {
            if other == T::default() { own } else { other }
        }
        Self {
            mem_limit: or(self.mem_limit, other.mem_limit),
            mem_guarantee: or(self.mem_guarantee, other.mem_guarantee),
            cpu_limit: or(self.cpu_limit, other.cpu_limit),
            cpu_guarantee: or(self.cpu_guarantee, other.cpu_guarantee),
            tasks_max: or(self.tasks_max, other.tasks_max),
        }
    }
}

impl Limits {
    /// The files of a control group (cgroup v2), and what belongs into them.
    pub fn files(&self) -> Vec<(&'static str, String)> {
        let mut files = Vec::new();
        let mut add = |file, wanted: bool, value: String| files.extend(wanted.then_some((file, value)));
        add("memory.max", self.mem_limit.0 > 0, self.mem_limit.0.to_string());
        add("memory.swap.max", self.mem_limit.0 > 0, "0".into());
        add("memory.low", self.mem_guarantee.0 > 0, self.mem_guarantee.0.to_string());
        add("cpu.max", self.cpu_limit > 0.0, format!("{:.0} {CPU_PERIOD:.0}", self.cpu_limit * CPU_PERIOD));
        // Shares of a machine that is busy: 100, everybody's default, for one processor.
        let weight = (self.cpu_guarantee * 100.0).clamp(1.0, 10_000.0);
        add("cpu.weight", self.cpu_guarantee > 0.0, format!("{weight:.0}"));
        add("pids.max", self.tasks_max > 0, self.tasks_max.to_string());
        files
    }

    /// JupyterHub's variables that tell a server its limits.
    pub fn variables(&self) -> impl Iterator<Item = (String, String)> {
        let bytes = |name: &str, bytes: u64| (bytes > 0).then(|| (name.to_owned(), bytes.to_string()));
        let cpus = |name: &str, cpus: f64| (cpus > 0.0).then(|| (name.to_owned(), format!("{cpus:?}")));
        let all = [
            bytes("MEM_LIMIT", self.mem_limit.0),
            bytes("MEM_GUARANTEE", self.mem_guarantee.0),
            cpus("CPU_LIMIT", self.cpu_limit),
            cpus("CPU_GUARANTEE", self.cpu_guarantee),
        ];
        all.into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_jupyterhub_writes_them_and_a_group_goes_before_its_profile() {
        let bytes = |text: &str| Bytes::try_from(text.to_owned()).map(|bytes| bytes.0);
        assert_eq!((bytes("2G"), bytes("512M"), bytes("7")), (Ok(2 << 30), Ok(512 << 20), Ok(7)));
        for bad in ["", "G", "2g", "2GB", "-1", "1.5G", "99999999999T"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
        let profile = Limits { mem_limit: Bytes(1), cpu_limit: 2.0, ..Limits::default() };
        let group = Limits { mem_limit: Bytes(5), tasks_max: 9, ..Limits::default() };
        let both = profile.with(&group);
        assert_eq!((both.mem_limit, both.cpu_limit, both.tasks_max), (Bytes(5), 2.0, 9));
    }

    #[test]
    fn only_limits_that_root_wrote_reach_the_kernel_and_the_server() {
        assert!(Limits::default().files().is_empty() && Limits::default().variables().next().is_none());
        let limits = Limits { mem_limit: Bytes(5), cpu_limit: 1.5, cpu_guarantee: 0.5, ..Limits::default() };
        let files = [
            ("memory.max", "5"),
            ("memory.swap.max", "0"),
            ("cpu.max", "150000 100000"),
            ("cpu.weight", "50"),
        ];
        assert_eq!(limits.files(), files.map(|(file, value)| (file, value.to_owned())));
        let told: Vec<_> = limits.variables().collect();
        let wanted = [("MEM_LIMIT", "5"), ("CPU_LIMIT", "1.5"), ("CPU_GUARANTEE", "0.5")];
        assert_eq!(told, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }
}
