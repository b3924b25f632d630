//! The router against the specification's own examples, and against itself after a long life.

use super::{Hits, Reading, Router, Settings, Share, rules};

fn matching(filters: &[&str], topic: &str) -> Vec<u32> {
    let mut router = Router::default();
    for filter in filters {
        router.add(filter.as_bytes()).unwrap();
    }
    found(&router, topic)
}

fn found(router: &Router, topic: &str) -> Vec<u32> {
    let mut hits = Hits::default();
    router.find(topic.as_bytes(), &mut hits).unwrap();
    hits.numbers().collect()
}

fn fits(filter: &str, topic: &str) -> bool {
    !matching(&[filter], topic).is_empty()
}

fn reason(router: &mut Router, filter: &str) -> (&'static str, Option<usize>) {
    let error = router.add(filter.as_bytes()).unwrap_err();
    (error.reason, error.at)
}

#[test]
fn wildcards() {
    for (filter, topic, fit) in [
        ("sport/tennis/player1/#", "sport/tennis/player1", true),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
        ("sport/#", "sport", true),
        ("sport/#", "sports", false),
        ("#", "a/b", true),
        ("#", "/", true),
        ("+", "/finance", false),
        ("/+", "/finance", true),
        ("+/+", "/finance", true),
        ("sport/+", "sport", false),
        ("sport/+", "sport/", true),
        ("sport/+/player1", "sport//player1", true),
        ("sport/tennis/+", "sport/tennis/player1/ranking", false),
        ("a", "A", false),
        ("é/+", "é/ß", true),
        ("\u{feff}a", "a", false),
    ] {
        assert_eq!(fits(filter, topic), fit, "{filter} {topic}");
    }
}

#[test]
fn dollar_topics() {
    for (filter, topic, fit) in [
        ("#", "$SYS", false),
        ("+/monitor/Clients", "$SYS/monitor/Clients", false),
        ("+/#", "$SYS/a", false),
        ("$SYS/#", "$SYS/a", true),
        ("$SYS/#", "$SYS", true),
        ("$SYS/+", "$SYS/a", true),
        ("a/#", "a/$x", true),
        ("+/+", "a/$x", true),
        ("$share/g/#", "$SYS/a", false),
        ("$share/g/$SYS/#", "$SYS/a", true),
    ] {
        assert_eq!(fits(filter, topic), fit, "{filter} {topic}");
    }
}

#[test]
fn oldest_first() {
    assert_eq!(matching(&["a/#", "+/b", "a/b", "#", "a/b", "x"], "a/b"), [0, 1, 2, 3, 4]);
    let mut router = Router::default();
    for filter in ["a", "+", "#"] {
        router.add(filter.as_bytes()).unwrap();
    }
    router.remove(0);
    assert_eq!(router.add(b"a").unwrap(), 0, "numbers are used again");
    assert_eq!(found(&router, "a"), [1, 2, 0]);
    assert_eq!(router.all(), [1, 2, 0]);
}

#[test]
fn refusals() {
    let mut router = Router::default();
    for (filter, why, at) in [
        ("", "empty", None),
        ("a/#/b", "wildcard", Some(2)),
        ("a#", "wildcard", Some(1)),
        ("é+", "wildcard", Some(1)),
        ("a\0", "character", Some(1)),
        ("$share", "share", Some(0)),
        ("$share/g", "share", Some(0)),
        ("$share//a", "share", Some(7)),
        ("$share/é+/a", "share", Some(8)),
        ("$share/g/", "share", Some(9)),
        ("$share/g/$share/h/a", "share", Some(9)),
        ("a/{b}/{b}", "capture", Some(6)),
        ("a/{b", "capture", Some(2)),
        ("a/x{b}", "capture", Some(3)),
        ("a/{}", "capture", Some(2)),
        ("a/{1}", "capture", Some(2)),
        ("a/b}", "capture", Some(3)),
    ] {
        assert_eq!(reason(&mut router, filter), (why, at), "{filter}");
    }
    assert_eq!(router.add(&[b'a', 0xff]).unwrap_err().reason, "utf-8");
    assert_eq!(router.add(&[0xed, 0xa0, 0x80]).unwrap_err().at, Some(0));
    assert!(router.add("é".repeat(32_767).as_bytes()).is_ok());
    assert_eq!(reason(&mut router, &"é".repeat(32_768)).0, "length");
    assert_eq!(router.len(), 1);
    let mut hits = Hits::default();
    for topic in ["a/+", "#", "", "a\0b"] {
        assert!(router.find(topic.as_bytes(), &mut hits).is_err(), "{topic}");
    }
    assert_eq!(router.find(&[b'a', 0xc3], &mut hits).unwrap_err().at, Some(1));
}

#[test]
fn settings_open_what_the_text_leaves_open() {
    let lenient = Settings {
        captures: false,
        bare_share: Reading::Literal,
        nested_share: Reading::Literal,
        prefixes: vec!["$queue/".into()],
        ..Settings::default()
    };
    let mut router = Router::new(lenient);
    for filter in ["$share", "$share/g", "$share/g/$share/t", "$queue/a", "{a"] {
        router.add(filter.as_bytes()).unwrap();
    }
    assert_eq!(found(&router, "$share"), [0]);
    assert_eq!(found(&router, "$share/g"), [1]);
    assert_eq!(found(&router, "$share/t"), [2]);
    assert_eq!(found(&router, "a"), [3]);
    assert_eq!(found(&router, "{a"), [4]);

    let mut literal = Router::new(Settings { share: Share::Literal, ..Settings::default() });
    literal.add(b"$share/+/a").unwrap();
    assert_eq!(found(&literal, "$share/g/a"), [0]);

    let narrow = Settings { levels: Some(2), controls: false, forbidden: vec![' '], ..Settings::default() };
    let mut router = Router::new(Settings { share: Share::Refuse, ..narrow });
    assert!(router.add(b"a/b").is_ok());
    for (filter, why, at) in [
        ("a/b/c", "levels", Some(3)),
        ("a\u{7f}", "character", Some(1)),
        ("\u{1fffe}", "character", Some(0)),
        ("a b", "character", Some(1)),
        ("$share/g/a", "share", Some(0)),
    ] {
        assert_eq!(reason(&mut router, filter), (why, at), "{filter}");
    }
    let mut hits = Hits::default();
    assert_eq!(router.find(b"a/b/c", &mut hits).unwrap_err().reason, "levels");
}

#[test]
fn captures_and_spellings() {
    let mut router = Router::default();
    let filter = "$share/g/chargers/{station}/+/{{x}}/{value}/#";
    let number = router.add(filter.as_bytes()).unwrap();
    let topic = "chargers/CP1/b/{x}/7/more/levels";
    assert_eq!(found(&router, topic), [number]);
    assert_eq!(router.captures(number, topic).collect::<Vec<_>>(), [("station", "CP1"), ("value", "7")]);
    assert_eq!(router.filter(number), filter);
    let plain = router.add(b"/+/a//#").unwrap();
    assert_eq!(router.filter(plain), "/+/a//#");
    let inner = router.add(b"chargers/+/+/{{x}}/+/#").unwrap();
    assert_eq!(router.numbers(b"chargers/+/+/{{x}}/+/#").unwrap(), [inner]);
    assert_eq!(router.numbers(filter.as_bytes()).unwrap(), [number]);
    assert!(router.numbers(b"chargers/{a}/+/{{x}}/+/#").unwrap().is_empty());
}

#[test]
fn as_many_levels_as_bytes_allow() {
    let deep = "/".repeat(rules::MAX_BYTES);
    let mut router = Router::default();
    let exact = router.add(deep.as_bytes()).unwrap();
    let wild = router.add(format!("{}+", &deep[..rules::MAX_BYTES - 1]).as_bytes()).unwrap();
    assert_eq!(router.size().0, 65_536 + 1);
    assert_eq!(found(&router, &deep), [exact]);
    assert_eq!(found(&router, &deep[1..]), [wild]);
    router.remove(exact);
    assert_eq!(router.size().0, 65_535);
}

/// Many additions and removals leave no node, no text and no order behind that a fresh router would not have.
#[test]
fn a_long_life_leaves_nothing_behind() {
    let words = ["a", "b", "+", "", "a long level that is not kept in place", "c"];
    let mut state = 1u64;
    let mut draw = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut router = Router::default();
    let mut live: Vec<(u32, String)> = Vec::new();
    for turn in 0..20_000 {
        if draw(100) < 52 && live.len() < 300 {
            let mut levels: Vec<&str> = (0..=draw(4)).map(|_| words[draw(words.len())]).collect();
            if draw(4) == 0 {
                levels.push("#");
            }
            let filter = levels.join("/");
            if !filter.is_empty() {
                live.push((router.add(filter.as_bytes()).unwrap(), filter));
            }
        } else if !live.is_empty() {
            router.remove(live.remove(draw(live.len())).0);
        }
        if turn % 1_000 != 0 {
            continue;
        }
        let mut fresh = Router::default();
        for (_, filter) in &live {
            fresh.add(filter.as_bytes()).unwrap();
        }
        assert_eq!((router.size().0, router.size().1), (fresh.size().0, fresh.size().1));
        assert_eq!(router.all(), live.iter().map(|(number, _)| *number).collect::<Vec<_>>());
        for (number, filter) in &live {
            assert_eq!(router.filter(*number), *filter);
        }
        for topic in ["a", "a/b", "a//c", "/", "c/a long level that is not kept in place/b/a", "$a/b"] {
            let old: Vec<_> = found(&router, topic).iter().map(|number| router.filter(*number)).collect();
            let new: Vec<_> = found(&fresh, topic).iter().map(|number| fresh.filter(*number)).collect();
            assert_eq!(old, new, "{topic}");
        }
    }
    for (number, _) in live {
        router.remove(number);
    }
    assert!(router.is_empty());
    assert_eq!((router.size().0, router.size().1), (0, 0));
}
