//! How long each step takes for one kill, or one scrape: `cargo bench -p oom-probe --bench steps`.

mod items;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

/// Items that are made ready at once.
const BATCH: u32 = 100;

fn steps(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("steps");
    for (name, make_ready) in items::STEPS {
        let items = if name == "scrape" { 1 } else { BATCH };
        group.throughput(Throughput::Elements(items.into()));
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(|| make_ready(items), |work| work(), BatchSize::LargeInput);
        });
    }
    group.finish();
}

criterion_group!(benches, steps);
criterion_main!(benches);
