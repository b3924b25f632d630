//! Times the router alone, without Python: `cargo run --release -p evcore-core --example route [filters…]`.
//!
//! In: numbers of filters, 10 to 100,000 by default. Out: a line for each with nanoseconds per topic, the best of several
//! rounds over topics drawn at random: those that hit one filter, those that hit none, those that many wildcards overlap on.
#![expect(clippy::print_stdout, reason = "printing is what it is for")]

use std::hint::black_box;
use std::time::Instant;

use evcore_core::route::{Hits, Router, Settings};

const KINDS: [&str; 4] = ["status", "metrics", "events", "command"];
const TOPICS: u32 = 1_000;
const ROUNDS: usize = 50;

/// Numbers that are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

fn station(number: usize, kind: usize) -> String {
    format!("chargers/CP{number:06}/{}", KINDS[kind])
}

/// Nanoseconds per topic.
fn time(router: &Router, topics: &[String]) -> f64 {
    let mut hits = Hits::default();
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for topic in topics {
            router.find(black_box(topic.as_bytes()), &mut hits).expect("these are topics");
            black_box(hits.numbers().len());
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e9 / f64::from(TOPICS));
    }
    best
}

fn main() {
    let mut sizes: Vec<usize> = std::env::args().skip(1).filter_map(|size| size.parse().ok()).collect();
    if sizes.is_empty() {
        sizes = vec![10, 1_000, 10_000, 100_000];
    }
    println!("{:>9} {:>8} {:>8} {:>12} {:>12}", "filters", "hit, ns", "miss, ns", "8 hits, ns", "bytes/filter");
    for size in sizes {
        let mut router = Router::new(Settings::default());
        for index in 0..size {
            router.add(station(index / 4, index % 4).as_bytes()).expect("these are filters");
        }
        let mut dice = Dice(1);
        let stations = size.div_ceil(4);
        let mut draw = |base: usize| -> Vec<String> {
            (0..TOPICS).map(|_| station(base + dice.below(stations), dice.below(size.min(4)))).collect()
        };
        let (known, unknown) = (draw(0), draw(stations));
        let (hit, miss, bytes) = (time(&router, &known), time(&router, &unknown), router.size().2 / size);
        for filter in ["#", "+/#", "+/+/#", "+/+/+", "chargers/#", "chargers/+/#", "chargers/+/+"] {
            router.add(filter.as_bytes()).expect("these are filters");
        }
        println!("{size:>9} {hit:>8.0} {miss:>8.0} {:>12.0} {bytes:>12}", time(&router, &known));
    }
}
