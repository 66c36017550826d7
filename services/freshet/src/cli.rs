//! The arguments. Their help is the reference; `docs/cli.md` adds examples and the exit codes.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::up::ports::HIGHEST_BASE;

/// The event layer of a government data platform: departments' changes, validated, routed and fanned out.
#[derive(Debug, Parser)]
#[command(name = "freshet", version, propagate_version = true, max_term_width = 110)]
pub struct Cli {
    #[command(flatten)]
    pub globals: Globals,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Clone, Args)]
pub struct Globals {
    /// Settings file (TOML) over the defaults; the environment (FRESHET__SECTION__KEY) and --set are over it
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One setting, e.g. --set gateway.listen=0.0.0.0:8080; may be repeated
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", value_parser = key_value)]
    pub set: Vec<(String, String)>,
    /// The cluster, host:port; short for --set kafka.bootstrap_servers
    #[arg(long, global = true, value_name = "HOST:PORT")]
    pub kafka: Option<String>,
    /// How results are printed
    #[arg(long, global = true, value_enum, default_value_t = OutputForm::Text)]
    pub output: OutputForm,
    /// The folder of a bus that `freshet up` runs: finds its Kafka, addresses and tokens
    #[arg(long, global = true, value_name = "DIR", default_value = "data")]
    pub data: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputForm {
    Text,
    /// For programs: one JSON document, or one a line where results stream
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the whole bus on this machine: broker, catalogue, all services
    Up(UpArguments),
    /// Run one service against a cluster, as in production
    Run(RunArguments),
    /// Send a file of events (JSON lines or CSV, read as the dataset's mapping says) to the gateway
    Publish(PublishArguments),
    /// Check a catalogue folder, compare it with the bus, make it so; keep the bus's catalogue in a file
    Catalog(CatalogArguments),
    /// What was refused, and why
    Rejects(RejectsArguments),
    /// Follow one event over every hop, with times
    Trace(TraceArguments),
    /// Show every setting of a role with its source, and check the relations between them
    CheckConfig(RoleArguments),
    /// Make a department's token
    Token(TokenArguments),
    /// Print a completion script
    Completions(CompletionsArguments),
    /// Measure every service against the same work without us
    Bench(BenchArguments),
}

#[derive(Debug, Args)]
pub struct UpArguments {
    /// Play real registers' changes from publishing to subscribing departments, and keep the books
    #[arg(long)]
    pub demo: bool,
    /// With --demo: end when the books are closed; exit 0 only if they balance
    #[arg(long, requires = "demo")]
    pub once: bool,
    /// The catalogue to apply instead of the one that is shipped
    #[arg(long, value_name = "DIR")]
    pub catalog: Option<PathBuf>,
    /// Brokers to start; fixed at the first start of a data folder
    #[arg(long, value_parser = ["1", "3"], default_value = "1")]
    pub brokers: String,
    /// The Java heap of each broker
    #[arg(long, default_value = "512m", value_name = "SIZE")]
    pub broker_heap: String,
    /// The first of the ports to use for the services and, after ten, for the brokers; otherwise free ones are chosen
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1024..=i64::from(HIGHEST_BASE)))]
    pub port_base: Option<u16>,
    /// With --demo: events per second of all publishers together
    #[arg(long, default_value_t = 2000, value_name = "EVENTS")]
    pub rate: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Role {
    Gateway,
    Validator,
    Router,
    Fanout,
    Catalog,
    Observer,
}

impl Role {
    pub const ALL: [Self; 6] =
        [Self::Catalog, Self::Validator, Self::Router, Self::Fanout, Self::Observer, Self::Gateway];

    pub fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Validator => "validator",
            Self::Router => "router",
            Self::Fanout => "fanout",
            Self::Catalog => "catalog",
            Self::Observer => "observer",
        }
    }
}

#[derive(Debug, Args)]
pub struct RunArguments {
    #[arg(value_enum)]
    pub role: Role,
    /// Only check the settings
    #[arg(long)]
    pub check_config: bool,
}

#[derive(Debug, Args)]
pub struct RoleArguments {
    #[arg(value_enum)]
    pub role: Role,
}

#[derive(Debug, Args)]
pub struct PublishArguments {
    /// The dataset's id
    pub dataset: String,
    /// JSON lines (.jsonl, .ndjson) or CSV (.csv)
    pub file: PathBuf,
    /// The gateway; of a bus that `freshet up` runs it is known
    #[arg(long, env = "FRESHET_GATEWAY", value_name = "URL")]
    pub gateway: Option<String>,
    /// A file that holds the department's token; of a bus that `freshet up` runs it is known
    #[arg(long, env = "FRESHET_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// The CloudEvents source to publish as, where the department has several
    #[arg(long, value_name = "URI")]
    pub source: Option<String>,
    /// Publish as this department, where several may publish the dataset
    #[arg(long, value_name = "DEPARTMENT")]
    pub department: Option<String>,
}

#[derive(Debug, Args)]
pub struct CatalogArguments {
    #[command(subcommand)]
    pub action: CatalogAction,
}

#[derive(Debug, Subcommand)]
pub enum CatalogAction {
    /// Find every mistake, with file, line, column and the mend; needs no cluster
    Validate { dir: PathBuf },
    /// List what everybody must be allowed to do on Kafka, as apply sets it; needs no cluster
    Access { dir: PathBuf },
    /// Show what apply would change
    Diff { dir: PathBuf },
    /// Write the catalogue, create and alter topics, set access
    Apply { dir: PathBuf },
    /// Write the bus's catalogue to a file: what a lost cluster is built anew from (docs/disaster.md)
    Export { file: PathBuf },
    /// Put an exported catalogue in force, with the ids and versions of its schemas
    Import {
        file: PathBuf,
        /// Also where the bus's catalogue was changed after the one in the file
        #[arg(long)]
        overwrite: bool,
    },
}

#[derive(Debug, Args)]
pub struct RejectsArguments {
    #[command(subcommand)]
    pub action: RejectsAction,
}

#[derive(Debug, Subcommand)]
pub enum RejectsAction {
    /// One line each, the newest last
    List {
        /// Only of this department
        #[arg(long)]
        department: Option<String>,
        /// Only of this dataset
        #[arg(long)]
        dataset: Option<String>,
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// One rejection with all its violations, headers and its value
    Show {
        /// TOPIC/PARTITION/OFFSET, as list prints it
        place: String,
    },
    /// Send it to the dataset's publish topic again, unchanged (mend data at its source; this is for mended catalogues)
    Resend {
        /// TOPIC/PARTITION/OFFSET, as list prints it
        #[arg(required = true)]
        places: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub struct TraceArguments {
    /// The event's id
    pub event_id: String,
    /// Its dataset, where known: then only its topics are read
    #[arg(long)]
    pub dataset: Option<String>,
}

#[derive(Debug, Args)]
pub struct TokenArguments {
    #[command(subcommand)]
    pub action: TokenAction,
}

#[derive(Debug, Subcommand)]
pub enum TokenAction {
    /// Print a new token, and the line for the credentials file that holds only its hash
    Create { department: String },
}

#[derive(Debug, Args)]
pub struct CompletionsArguments {
    #[arg(value_enum)]
    pub shell: Shell,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct BenchArguments {
    #[command(subcommand)]
    pub action: Option<BenchAction>,
    /// A third of the records, fewer rounds, less of what is wide and deep: about two minutes
    #[arg(long)]
    pub quick: bool,
    /// Short for --output json: what `bench compare` takes
    #[arg(long)]
    pub json: bool,
    /// Measure only this: walker, validator, router, fanout, postgres, gateway, latency, grants, width or depth; may be
    /// given several times
    #[arg(long, value_name = "PART")]
    pub only: Vec<String>,
    /// A folder with a Kafka Streams program for the same work, run beside us (docs/performance.md)
    #[arg(long, value_name = "DIR")]
    pub kafka_streams: Option<PathBuf>,
    /// Licences of the part depth; 7512000 is a whole city's register
    #[arg(long, value_name = "LICENCES")]
    pub depth: Option<u64>,
    /// Instead of the parts: run the bus for so long under a steady load and look at its memory
    #[arg(long, value_name = "MINUTES")]
    pub long: Option<u64>,
    /// Instead of the parts: measure the cost curves and draw them into this folder; --only then names views, rules,
    /// partitions, size or subscribers
    #[arg(long, value_name = "DIR")]
    pub curves: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum BenchAction {
    /// Compare what two runs printed with --json
    Compare { before: PathBuf, after: PathBuf },
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("give KEY=VALUE, e.g. gateway.listen=127.0.0.1:8080")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn every_command_stands_in_the_docs() {
        let docs = include_str!("../../../docs/cli.md");
        for command in super::Cli::command().get_subcommands() {
            let name = command.get_name();
            assert!(docs.contains(&format!("`freshet {name}")), "docs/cli.md does not name `freshet {name}`");
        }
    }

    #[test]
    fn the_arguments_are_consistent() {
        super::Cli::command().debug_assert();
    }
}
