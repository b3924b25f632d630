//! The router's life: any bytes as filters and topics, additions and removals in any order. Nothing panics, what it finds is
//! what a comparison level by level finds, in order, and in the end nothing is left.
#![no_main]

use evcore_core::route::{Hits, Level, Reading, Router, Settings, Share, rules};
use libfuzzer_sys::fuzz_target;

/// One filter that is in the router: its number, its text, its levels (None: any).
type Entry = (u32, Vec<u8>, Vec<Option<String>>, bool);

fn settings(first: u8) -> Settings {
    Settings {
        captures: first & 1 == 0,
        share: [Share::Strip, Share::Literal, Share::Refuse, Share::Strip][usize::from(first >> 1 & 3)],
        bare_share: if first & 8 == 0 { Reading::Refuse } else { Reading::Literal },
        nested_share: if first & 16 == 0 { Reading::Refuse } else { Reading::Literal },
        prefixes: if first & 32 == 0 { Vec::new() } else { vec!["$q/".to_owned()] },
        levels: (first & 64 != 0).then_some(4),
        controls: first & 128 == 0,
        forbidden: Vec::new(),
    }
}

fn fits(levels: &[Option<String>], rest: bool, topic: &str) -> bool {
    let found: Vec<&str> = topic.split('/').collect();
    if topic.starts_with('$') && levels.first().is_none_or(Option::is_none) {
        return false;
    }
    (if rest { found.len() >= levels.len() } else { found.len() == levels.len() })
        && levels.iter().zip(found).all(|(level, found)| level.as_deref().is_none_or(|level| level == found))
}

fuzz_target!(|data: &[u8]| {
    let Some((&first, data)) = data.split_first() else { return };
    let settings = settings(first);
    let mut router = Router::new(settings.clone());
    let mut entries: Vec<Entry> = Vec::new();
    let mut hits = Hits::default();
    for line in data.split(|byte| *byte == b'\n') {
        let Some((&action, text)) = line.split_first() else { continue };
        match action {
            b'-' if !entries.is_empty() => {
                let index = text.first().map_or(0, |byte| usize::from(*byte)) % entries.len();
                let (number, filter, ..) = entries.remove(index);
                assert!(router.numbers(&filter).expect("it was added").contains(&number));
                router.remove(number);
                assert!(!router.numbers(&filter).expect("it was added").contains(&number));
            }
            b'?' => match (router.find(text, &mut hits), rules::topic(text, &settings)) {
                (Err(quick), Err(slow)) => assert_eq!(quick, slow),
                (Ok(()), Ok(topic)) => {
                    let expected: Vec<u32> = entries
                        .iter()
                        .filter(|(_, _, levels, rest)| fits(levels, *rest, topic))
                        .map(|(number, ..)| *number)
                        .collect();
                    assert_eq!(hits.numbers().collect::<Vec<_>>(), expected, "{topic:?}");
                    for number in expected {
                        assert!(router.captures(number, topic).all(|(_, level)| topic.contains(level)));
                    }
                }
                differ => panic!("{differ:?}"),
            },
            _ => match (router.add(text), rules::filter(text, &settings)) {
                (Err(added), Err(parsed)) => assert_eq!(added, parsed),
                (Ok(number), Ok(parsed)) => {
                    let rest = parsed.levels.last() == Some(&Level::Rest);
                    let read = |level: &Level<'_>| match level {
                        Level::Literal(text) => Some(Some((*text).to_owned())),
                        Level::Escaped(text) => Some(Some(text.clone())),
                        Level::Any | Level::Capture(_) => Some(None),
                        Level::Rest => None,
                    };
                    entries.push((number, text.to_vec(), parsed.levels.iter().filter_map(read).collect(), rest));
                    assert_eq!(router.filter(number).as_bytes(), text);
                }
                differ => panic!("{differ:?}"),
            },
        }
        assert_eq!(router.all(), entries.iter().map(|(number, ..)| *number).collect::<Vec<_>>());
    }
    for (number, ..) in entries {
        router.remove(number);
    }
    assert!(router.is_empty());
    assert_eq!((router.size().0, router.size().1), (0, 0));
});
