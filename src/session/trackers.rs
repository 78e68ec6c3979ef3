//! The trackers of a torrent, as main takes them.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::actors::http;
use crate::bus::NewTorrent;
use crate::bus::trackers::Tracker;
use crate::formats::metainfo::Metainfo;
use crate::formats::url::{Scheme, Url};
use crate::words::limits::TRACKERS_MAX;
use crate::words::rng::Rng;

/// Whether this build speaks to trackers of a scheme.
pub fn is_spoken(scheme: Scheme) -> bool {
    scheme == Scheme::Udp || http::is_spoken(scheme)
}

/// Gives a torrent its trackers, and those that the user named. All chance comes from `seed`.
pub(super) fn add(new: &mut NewTorrent, named: Vec<Url>, seed: u64) {
    let mut rng = Rng::new(seed);
    new.trackers = tiers(&new.context.metainfo, named, &mut rng);
    let mut key = [0; 4];
    rng.fill(&mut key);
    new.key = u32::from_be_bytes(key);
}

/// Those that the user named, each alone in a tier, and the torrent's own, each once and in an order
/// of chance within their tiers (BEP 12). What this build does not speak to is passed over.
fn tiers(metainfo: &Metainfo, named: Vec<Url>, rng: &mut Rng) -> Vec<Vec<Arc<Tracker>>> {
    let mut known = BTreeSet::new();
    let mut take = |url: Url, named| {
        let of_use = is_spoken(url.scheme) && known.len() < TRACKERS_MAX;
        (of_use && known.insert(url.clone())).then(|| Arc::new(Tracker { url, named }))
    };
    let named = named.into_iter().map(|url| Vec::from_iter(take(url, true)));
    let mut tiers: Vec<Vec<Arc<Tracker>>> = named.collect();
    for tier in metainfo.trackers() {
        let urls = tier.iter().filter_map(|text| Url::parse(text).ok());
        let mut tier: Vec<Arc<Tracker>> = urls.filter_map(|url| take(url, false)).collect();
        rng.shuffle(&mut tier);
        tiers.push(tier);
    }
    tiers.retain(|tier| !tier.is_empty());
    tiers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::metainfo::{Draft, DraftFile};

    #[test]
    fn trackers_come_once_in_their_tiers() {
        let draft = Draft {
            trackers: vec![
                vec!["http://a/announce".to_owned(), "http://b/".to_owned(), "ws://c/".to_owned()],
                vec!["http://a/announce".to_owned()],
                vec!["http://d/".to_owned(), "http:// /".to_owned()],
            ],
            name: b"t".to_vec(),
            piece_length: 16384,
            files: vec![DraftFile { path: Vec::new(), len: 1 }],
            hashes: vec![7; 20],
            ..Draft::default()
        };
        let metainfo = Metainfo::parse(&draft.encode()).unwrap();
        let named = ["http://d/", "http://e/"].map(|text| Url::parse(text).unwrap()).to_vec();
        let tiers = tiers(&metainfo, named, &mut Rng::new(1));
        let shown = tiers.iter().map(|tier| {
            let mut tier: Vec<String> = tier.iter().map(|t| t.url.to_string()).collect();
            tier.sort();
            tier.join(" ")
        });
        let shown: Vec<String> = shown.collect();
        assert_eq!(shown, ["http://d/", "http://e/", "http://a/announce http://b/"]);
        assert!(tiers[0][0].named && !tiers[2][0].named);
    }
}
