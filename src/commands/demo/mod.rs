//! `lakebed demo`: the whole story on one machine, with a private MariaDB and people working in it.

mod live_writer;
mod server;
mod shop;
mod story;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::MultiProgress;
use ingest::config::PipelineConfig;
use ingest::pipeline::{Phase, Pipeline, Progress, RunMode};
use ingest::source::mysql::connection::{Connection, MySqlOptions};
use table_format::env::{Env, MemoryBudget};
use tokio_util::sync::CancellationToken;

use super::Failure;
use crate::config;
use crate::display::Display;
use live_writer::LiveWriters;
use server::PrivateServer;

/// How long changes are followed while people keep working.
const STREAM_FOR: Duration = Duration::from_secs(15);

/// Arguments of `lakebed demo`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lakebed demo                     the whole story in about two minutes; leaves nothing behind
  lakebed demo --keep --dir /tmp/d leaves the lake in /tmp/d/lake and prints how to look around in it

Needs MariaDB's server programs (apt-get install mariadb-server).")]
pub(crate) struct DemoArgs {
    /// Directory for the server's data and the lake; must not exist or be empty [default: a temporary one]
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Leave the lake there and print the commands to look around in it
    #[arg(long)]
    keep: bool,
}

pub(crate) async fn run(args: DemoArgs, area: &MultiProgress) -> Result<(), Failure> {
    tell(args, area).await.map_err(Failure::other)
}

async fn tell(args: DemoArgs, area: &MultiProgress) -> Result<()> {
    let began = Instant::now();
    let dir = Workplace::try_new(args.dir, args.keep)?;
    story::heading(
        "A shop in a private MariaDB: 1,000,000 orders, 50,000 customers, a column of every type",
    );
    let server = PrivateServer::start(&dir.path).await?;
    let config = write_pipeline(&dir.path, server.port)?;
    let options = MySqlOptions::from_config(&config.source)?;
    shop::fill(&mut Connection::connect(&options).await?, area).await?;

    story::heading(
        "lakebed run: snapshot without locks, then the binary log, while two people keep working",
    );
    let writers = LiveWriters::start(&options);
    let follow = follow_for_a_while(&config, area).await;
    let changed = writers.stop().await?;
    follow?;
    run_pipeline(
        &config,
        RunMode::UntilCurrent,
        CancellationToken::new(),
        area,
        |_| false,
    )
    .await?;
    story::say(format_args!(
        "about {} rows changed meanwhile; everything is committed",
        crate::display::grouped(changed)
    ));

    let lake = dir.path.join("lake");
    story::show(&lake).await?;
    let equal = story::compare(&lake, &config, &options).await?;
    drop(server);
    story::say(format_args!(
        "\nThe whole story took {} s.",
        began.elapsed().as_secs()
    ));
    if args.keep {
        story::look_around(&lake);
    }
    if equal {
        Ok(())
    } else {
        bail!("source and lake differ")
    }
}

/// Snapshot, then the log for a while, then an orderly end.
async fn follow_for_a_while(config: &PipelineConfig, area: &MultiProgress) -> Result<()> {
    let stop = CancellationToken::new();
    let mut streaming_since: Option<Instant> = None;
    run_pipeline(config, RunMode::Continuous, stop, area, move |progress| {
        let tables = progress.tables();
        let streaming =
            !tables.is_empty() && tables.iter().all(|table| table.phase() == Phase::Stream);
        streaming && streaming_since.get_or_insert_with(Instant::now).elapsed() >= STREAM_FOR
    })
    .await
}

async fn run_pipeline(
    config: &PipelineConfig,
    mode: RunMode,
    stop: CancellationToken,
    area: &MultiProgress,
    mut is_enough: impl FnMut(&Progress) -> bool,
) -> Result<()> {
    let env = Env::system(MemoryBudget::new(config.memory_bytes));
    let pipeline = Pipeline::try_new(config.clone(), env, stop.clone())?;
    let progress = pipeline.progress();
    let _display = Display::start(Arc::clone(&progress), area);
    let watch = async {
        loop {
            tokio::time::sleep(Duration::from_millis(200)).await;
            if is_enough(&progress) {
                stop.cancel();
            }
        }
    };
    tokio::select! {
        outcome = Box::pin(pipeline.run(mode)) => Ok(outcome?),
        () = watch => Ok(()),
    }
}

fn write_pipeline(dir: &Path, port: u16) -> Result<PipelineConfig> {
    let file = dir.join("shop.yaml");
    let text = format!(
        "pipeline:\n  name: shop\n  memory: 256MiB\n\
         source:\n  type: mysql\n  hostname: 127.0.0.1\n  port: {port}\n  username: {}\n  password: {}\n  \
         tables: shop\\..*\n  server-id: 5400\n\
         sink:\n  type: hudi\n  path: {}\n  table.type: mor\n  commit.interval: 3s\n",
        server::USER,
        server::PASSWORD,
        dir.join("lake").display(),
    );
    std::fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
    Ok(config::load(&file.to_string_lossy())?)
}

/// The demo's directory; gone at the end unless it is to be kept.
#[derive(Debug)]
struct Workplace {
    path: PathBuf,
    keep: bool,
}

impl Workplace {
    fn try_new(dir: Option<PathBuf>, keep: bool) -> Result<Self> {
        let unique = || std::env::temp_dir().join(format!("lakebed-demo-{}", std::process::id()));
        let path = dir.unwrap_or_else(unique);
        let is_used = path
            .read_dir()
            .is_ok_and(|mut entries| entries.next().is_some());
        if is_used {
            bail!("{} is not empty; choose another --dir", path.display());
        }
        std::fs::create_dir_all(&path).with_context(|| format!("creating {}", path.display()))?;
        Ok(Self {
            path: std::path::absolute(path)?,
            keep,
        })
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        let parts: &[&str] = if self.keep {
            &["data", "mariadb.sock"]
        } else {
            &[""]
        };
        for part in parts {
            let path = if part.is_empty() {
                self.path.clone()
            } else {
                self.path.join(part)
            };
            let removed = if path.is_dir() {
                std::fs::remove_dir_all(&path)
            } else {
                Ok(())
            };
            if let Err(error) = removed {
                tracing::warn!(%error, path = %path.display(), "could not be removed");
            }
        }
    }
}
