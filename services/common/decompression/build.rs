//! Without the linker's options of `.cargo/config.toml` nothing links, and what the linker says of it helps nobody.

const OPTIONS: [&str; 4] = [
    "--wrap=rd_gz_decompress",
    "--wrap=rd_kafka_lz4_decompress",
    "--wrap=rd_kafka_op_throttle_time",
    "--wrap=rd_kafka_zstd_decompress",
];

fn main() {
    println!("cargo::rerun-if-env-changed=CARGO_ENCODED_RUSTFLAGS");
    let is_linux = std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux");
    let flags = std::env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    if let Some(missing) = OPTIONS.iter().find(|option| is_linux && !flags.contains(*option)) {
        println!(
            "cargo::error=the linker is not given {missing}: build in the repository's folder, where .cargo/config.toml has its options, \
             without RUSTFLAGS in the environment, or with those options in it"
        );
    }
}
