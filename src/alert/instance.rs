//! Which host does a label `instance` mean? Ports, brackets, zones, the dot at the end and the case of letters mean
//! nothing.

use std::net::IpAddr;

/// The names and addresses under which this host is scraped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnNames(Vec<HostName>);

/// A host as comparable text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(String);

impl OwnNames {
    /// Names and addresses, with or without a port, in any case.
    pub fn new(names: impl IntoIterator<Item = impl AsRef<str>>) -> OwnNames {
        OwnNames(names.into_iter().filter_map(|name| HostName::of(name.as_ref())).collect())
    }

    /// These, and more.
    pub fn and(mut self, names: impl IntoIterator<Item = impl AsRef<str>>) -> OwnNames {
        self.0.extend(names.into_iter().filter_map(|name| HostName::of(name.as_ref())));
        self
    }

    /// Whether the value of a label `instance` means this host.
    pub fn contains(&self, instance: &str) -> bool {
        HostName::of(instance).is_some_and(|host| self.0.contains(&host))
    }
}

impl HostName {
    /// `DB1.example.com.:9100` is `db1.example.com`, `[::1]:9100` and `0:0:0:0:0:0:0:1` are `::1`, `fe80::1%eth0` is
    /// `fe80::1`. Nothing is nobody's name.
    pub fn of(instance: &str) -> Option<HostName> {
        let bare = match instance.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, _)) => address,
            // More than one colon and no brackets: an IPv6 address without a port.
            None if instance.matches(':').count() > 1 => instance,
            None => instance.split(':').next().unwrap_or(instance),
        };
        let without_zone = bare.split_once('%').map_or(bare, |(address, _)| address);
        let name = match without_zone.parse::<IpAddr>() {
            Ok(address) => address.to_canonical().to_string(),
            Err(_) => bare.strip_suffix('.').unwrap_or(bare).to_ascii_lowercase(),
        };
        (!name.is_empty()).then_some(HostName(name))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_the_same_host_and_what_does_not() {
        let same = |a: &str, b: &str| OwnNames::new([a]).contains(b) && OwnNames::new([b]).contains(a);
        for (a, b) in [
            ("db1", "DB1:9100"),
            ("db1.example.com", "Db1.Example.Com.:19845"),
            ("192.0.2.7", "192.0.2.7:9100"),
            ("2001:db8::7", "[2001:DB8:0::7]:9100"),
            ("2001:db8::7", "[2001:db8::7]"),
            ("fe80::1", "[fe80::1%eth0]:9100"),
            ("fe80::1%eth0", "fe80::1"),
            ("192.0.2.7", "[::ffff:192.0.2.7]:9100"),
            ("dbé", "dbé:1"),
        ] {
            assert!(same(a, b), "{a} {b}");
        }
        for (a, b) in [
            ("db1", "db1.example.com"),
            ("db1", "db11"),
            ("db1", "xdb1"),
            ("db1.example.com", "db1.example.org"),
            ("db1", "db1.."),
            ("192.0.2.7", "192.0.2.70"),
            ("192.0.2.7", "192.0.2.7.example.com"),
            ("2001:db8::7", "2001:db8::70"),
            ("db1", " db1"),
            ("db1", "db1%eth0"),
            ("db1", "http://db1:9100"),
            ("dbé", "dbÉ"),
            ("db1", ""),
            ("", ""),
            (".", ":9100"),
        ] {
            assert!(!same(a, b), "{a} {b}");
        }
    }
}
