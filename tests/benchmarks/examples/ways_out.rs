//! `cargo run --release -p freshet-benchmarks --example ways_out`: deliveries to a webhook against the HTTP client alone.

fn main() -> anyhow::Result<()> {
    freshet_benchmarks::ways_out()
}
