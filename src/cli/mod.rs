//! The command line: clap types here, one file per command.

mod alertmanager_config;
mod check_config;
mod daemon;
mod decision;
mod draft;
pub mod exit;
mod extend;
mod fleet;
mod history;
mod init;
mod live;
mod metrics;
mod pause;
mod plan;
mod relay;
mod reload;
mod report;
mod selection;
mod serve;
mod style;
mod targets;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::log;
use exit::Exit;

/// Prometheus exporter for LVM that grows volumes and file systems on alerts, behind guards.
#[derive(Debug, Parser)]
#[command(name = "lvm-autoscaler", version, max_term_width = 120, after_help = exit::HELP)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    log: Log,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon: metrics, webhook and growth.
    Serve(serve::Serve),
    /// Run the half of the daemon that acts, without a network; `web` is the other.
    Engine(serve::EngineHalf),
    /// Run the half of the daemon that is reached, without rights: metrics, pages, webhook, notifications.
    Web(serve::WebHalf),
    /// Print the metrics once, for node_exporter's textfile collector.
    Metrics(metrics::Metrics),
    /// Look at this host and write a config to begin with: everything that can grow, with `mode: recommend`.
    Init(init::Init),
    /// Check a config file and print errors with line and column.
    CheckConfig(check_config::CheckConfig),
    /// Forward the alerts of one webhook to the daemons of many hosts.
    Relay(relay::Relay),
    /// Print a receiver and a route for each host, for Alertmanagers before 0.31.
    AlertmanagerConfig(alertmanager_config::AlertmanagerConfig),
    /// Show what may grow on this host, and why: targets, their file and line, their keys, what would be done now.
    Targets(targets::Targets),
    /// Show what the daemon would do now for each target, and why; change nothing.
    Plan(plan::Plan),
    /// Grow a target now, with the same guards and steps as for an alert.
    Extend(extend::Extend),
    /// Show past operations and refusals, with their reasons.
    History(history::History),
    /// Report capacity, growth rates, past operations and what needs doing.
    Report(report::ReportCommand),
    /// Pause a target, or all, until `resume`.
    #[command(after_help = "Example: lvm-autoscaler pause /data")]
    Pause(pause::Word),
    /// Resume a paused target, or all.
    #[command(after_help = "Example: lvm-autoscaler resume /data")]
    Resume(pause::Word),
    /// Close the open breaker of a target, or of all.
    #[command(after_help = "Example: lvm-autoscaler reset /data")]
    Reset(pause::Word),
    /// Reload the config of the running daemon.
    Reload(reload::Reload),
}

/// Of the log on standard error.
#[derive(Debug, Args)]
pub struct Log {
    /// Least severe messages to log.
    #[arg(
        long = "log.level",
        global = true,
        value_name = "LEVEL",
        help = "Least severe messages to log [default: info for what keeps running, error otherwise]"
    )]
    level: Option<Level>,
    /// Format of the log.
    #[arg(long = "log.format", global = true, value_name = "FORMAT", default_value = "logfmt")]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Logfmt,
    Json,
}

impl Cli {
    /// Starts the log.
    pub fn start_log(&self) {
        use tracing_subscriber::Layer as _;
        use tracing_subscriber::filter::LevelFilter;
        use tracing_subscriber::layer::SubscriberExt;
        use tracing_subscriber::util::SubscriberInitExt;
        // A command says what became of it by itself.
        let usual = match self.command {
            Command::Serve(_) | Command::Engine(_) | Command::Web(_) | Command::Relay(_) => Level::Info,
            _ => Level::Error,
        };
        let level = match self.log.level.unwrap_or(usual) {
            Level::Error => LevelFilter::ERROR,
            Level::Warn => LevelFilter::WARN,
            Level::Info => LevelFilter::INFO,
            Level::Debug => LevelFilter::DEBUG,
            Level::Trace => LevelFilter::TRACE,
        };
        let registry = tracing_subscriber::registry().with(level);
        // A second start, in tests, changes nothing.
        let _ = match self.log.format {
            Format::Json => {
                let layer = tracing_subscriber::fmt::layer()
                    .json()
                    .flatten_event(true)
                    .with_target(false)
                    .with_writer(|| style::Visible { json: true })
                    .with_filter(log::Limited);
                registry.with(layer).try_init()
            }
            Format::Logfmt => {
                let layer =
                    tracing_logfmt::builder().with_target(false).layer().with_writer(|| style::Visible { json: false });
                let layer = layer.with_filter(log::Limited);
                registry.with(layer).try_init()
            }
        };
    }

    /// Runs the command.
    pub fn run(self) -> anyhow::Result<Exit> {
        match self.command {
            Command::Serve(serve) => serve.run(),
            Command::Engine(engine) => engine.run(),
            Command::Web(web) => web.run(),
            Command::Metrics(metrics) => metrics.run(),
            Command::Init(init) => init.run(),
            Command::CheckConfig(check) => check.run(),
            Command::Relay(relay) => relay.run(),
            Command::AlertmanagerConfig(config) => config.run(),
            Command::Targets(targets) => targets.run(),
            Command::Plan(plan) => plan.run(),
            Command::Extend(extend) => extend.run(),
            Command::History(history) => history.run(),
            Command::Report(report) => report.run(),
            Command::Reload(reload) => reload.run(),
            Command::Pause(word) => word.pause(),
            Command::Resume(word) => word.resume(),
            Command::Reset(word) => word.reset(),
        }
    }
}
