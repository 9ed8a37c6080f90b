//! Views: which zones judge a client, and in which order.
//!
//! A group of clients has its own list of zones; everybody else has all zones in the order of the
//! configuration. The longest prefix decides which group a client belongs to.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::names::MAX_ZONES;
use super::prefixes::PrefixTable;

/// An operator's settings for one group of clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The group's name.
    pub name: String,
    /// Its clients.
    pub clients: Vec<IpNet>,
    /// Its zones in their order, as places in the list of all zones; `None`: all of them.
    pub zones: Option<Vec<usize>>,
}

/// The zones that judge some clients, in their order.
#[derive(Clone, Debug)]
pub struct View {
    /// 0 is everybody's view, n that of the n-th group.
    pub number: usize,
    /// The group's name; `None` for everybody's.
    pub group: Option<Arc<str>>,
    /// Its zones, one bit each.
    zones: u64,
    /// Its zones in their order, where that is not the order of the bits.
    order: Option<Box<[u8]>>,
}

/// All views.
pub(super) struct Views {
    views: Vec<View>,
    /// Prefix to number of the view.
    by_client: PrefixTable,
}

impl View {
    /// A view of these zones in this order; places beyond the last zone are left out.
    fn new(number: usize, group: Option<&str>, order: impl Iterator<Item = usize>) -> View {
        let order: Vec<u8> =
            order.filter_map(|zone| u8::try_from(zone).ok().filter(|&z| z < MAX_ZONES)).collect();
        let zones = order.iter().fold(0, |mask, zone| mask | 1 << zone);
        let order = (!order.is_sorted()).then(|| order.into());
        View { number, group: group.map(Arc::from), zones, order }
    }

    /// Its zones, one bit each.
    #[inline]
    pub fn zones(&self) -> u64 {
        self.zones
    }

    /// Its zones in their order.
    pub fn order(&self) -> Vec<u8> {
        match &self.order {
            Some(order) => order.to_vec(),
            None => (0..MAX_ZONES).filter(|zone| self.zones >> zone & 1 == 1).collect(),
        }
    }

    /// The first of these zones in the view's order.
    #[inline]
    pub(super) fn first(&self, zones: u64) -> Option<u8> {
        if zones == 0 {
            return None;
        }
        match &self.order {
            None => Some(zones.trailing_zeros() as u8),
            Some(order) => order.iter().copied().find(|zone| zones >> zone & 1 == 1),
        }
    }

    /// The zones in front of `zone`.
    #[inline]
    pub(super) fn ahead_of(&self, zone: u8) -> u64 {
        match &self.order {
            None => self.zones & ((1 << zone) - 1),
            Some(order) => {
                let ahead = order.iter().take_while(|other| **other != zone);
                ahead.fold(0, |mask, zone| mask | 1 << zone)
            }
        }
    }
}

impl Views {
    /// Everybody's view of `zones` zones, and one for each group.
    pub(super) fn new(zones: usize, groups: &[Group]) -> Views {
        let mut views = vec![View::new(0, None, 0..zones)];
        let mut clients = Vec::new();
        for (group, number) in groups.iter().zip(1..) {
            let name = Some(&*group.name);
            views.push(match &group.zones {
                Some(list) => View::new(number, name, list.iter().copied().filter(|z| *z < zones)),
                None => View::new(number, name, 0..zones),
            });
            clients.extend(group.clients.iter().map(|net| (0, net.trunc(), number as u32)));
        }
        // the configuration refuses one prefix in two groups
        let by_client = PrefixTable::build(clients.into_iter(), &mut |_, _| ());
        Views { views, by_client }
    }

    /// The view of a client.
    #[inline]
    pub(super) fn of(&self, client: IpAddr) -> &View {
        let number = if self.by_client.is_empty() {
            0
        } else {
            self.by_client.longest(0, client).map_or(0, |rule| rule.action as usize)
        };
        // everybody's view is always there
        self.views.get(number).unwrap_or(&self.views[0])
    }

    /// All views, everybody's first.
    pub(super) fn all(&self) -> &[View] {
        &self.views
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str, clients: &[&str], zones: Option<&[usize]>) -> Group {
        Group {
            name: name.to_owned(),
            clients: clients.iter().map(|c| c.parse().unwrap()).collect(),
            zones: zones.map(<[usize]>::to_vec),
        }
    }

    #[test]
    fn the_longest_prefix_decides() {
        let groups = [
            group("guests", &["192.168.50.0/24", "2001:db8::/32"], Some(&[2, 0])),
            group("printer", &["192.168.50.9/32"], Some(&[])),
            group("all", &["0.0.0.0/0"], None),
        ];
        let views = Views::new(3, &groups);
        let name = |ip: &str| views.of(ip.parse().unwrap()).group.clone();
        assert_eq!(name("192.168.50.8").as_deref(), Some("guests"));
        assert_eq!(name("192.168.50.9").as_deref(), Some("printer"));
        assert_eq!(name("10.0.0.1").as_deref(), Some("all"));
        assert_eq!(name("2001:db8::1").as_deref(), Some("guests"));
        assert_eq!(name("2001:db9::1"), None);
        assert_eq!(views.of("::1".parse().unwrap()).zones(), 0b111);
    }

    #[test]
    fn a_groups_order_is_its_own() {
        let views = Views::new(3, &[group("g", &["127.0.0.1/32"], Some(&[2, 0]))]);
        let (all, own) = (&views.all()[0], &views.all()[1]);
        assert_eq!((all.first(0b110), own.first(0b101)), (Some(1), Some(2)));
        assert_eq!((all.ahead_of(2), own.ahead_of(0), own.ahead_of(2)), (0b011, 0b100, 0));
        assert_eq!((all.order(), own.order()), (vec![0, 1, 2], vec![2, 0]));
        assert_eq!(own.first(0), None);
    }
}
