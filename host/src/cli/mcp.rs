//! `vespiary mcp` as clap reads it: serving, entries in clients' settings, and servers of others.

use super::{Bounds, Output, Permissions};
use crate::mcp::install::{App, Reach};
use clap::{Args, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;
use vespiary_kernel::ids::PluginName;

/// `vespiary mcp`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct McpArgs {
    /// What to do in place of serving.
    #[command(subcommand)]
    pub command: Option<McpCommand>,
    /// What is served.
    #[command(flatten)]
    pub serve: ServeArgs,
}

/// What can be done about MCP besides serving.
#[derive(Debug, Subcommand)]
pub enum McpCommand {
    /// The servers that the project configures, and whether each is trusted as it is configured. Connects to none.
    #[command(after_help = "Exit codes: 0, or 2 where something in the project's files is wrong.")]
    Servers {
        /// The project directory.
        #[arg(long, value_name = "PATH", default_value = ".")]
        dir: PathBuf,
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
    /// Look at a server's tools, and trust them as they are: from then on, calls to exactly these can run where they are granted.
    #[command(after_help = "Exit codes: 0 it is trusted, 3 something it needs was not granted, or nobody agreed.")]
    Trust(TrustArgs),
    /// Trust nothing of a server any more.
    Untrust {
        /// The server's name.
        server: PluginName,
        /// The project directory.
        #[arg(long, value_name = "PATH", default_value = ".")]
        dir: PathBuf,
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
    /// Write the entry that has a client start this server, showing the change first.
    Install(InstallArgs),
    /// Check the entries of all clients: that each starts a server, and what it offers.
    #[command(after_help = "Exit codes: 0 every entry works, 1 one does not, 2 there is none.")]
    Doctor {
        /// The project directory, whose entries are checked with the user's.
        #[arg(long, value_name = "PATH", default_value = ".")]
        dir: PathBuf,
        /// The name of the entries.
        #[arg(long, value_name = "NAME", default_value = "vespiary")]
        name: String,
        /// How to print.
        #[command(flatten)]
        output: Output,
    },
}

/// `vespiary mcp install`.
#[derive(Debug, Args)]
pub struct InstallArgs {
    /// Whose settings.
    pub client: App,
    /// Where: for everybody who opens this project, or for you in every project.
    #[arg(long, value_name = "WHERE", default_value = "project")]
    pub scope: Reach,
    /// The project directory.
    #[arg(long, value_name = "PATH", default_value = ".")]
    pub dir: PathBuf,
    /// The name of the entry.
    #[arg(long, value_name = "NAME", default_value = "vespiary")]
    pub name: String,
    /// Do not ask.
    #[arg(long, conflicts_with = "dry_run")]
    pub yes: bool,
    /// Show the change, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Flags that the server is to be started with: -- --allow write:out
    #[arg(last = true, value_name = "FLAGS")]
    pub flags: Vec<String>,
}

/// `vespiary mcp trust`.
#[derive(Debug, Args)]
pub struct TrustArgs {
    /// The server's name.
    pub server: PluginName,
    /// The project directory, to which relative paths and capabilities refer.
    #[arg(long, value_name = "PATH", default_value = ".")]
    pub dir: PathBuf,
    /// Do not ask: whoever runs this has looked.
    #[arg(long)]
    pub yes: bool,
    /// What the server may do while it is looked at: all it needs must be granted, as in a call.
    #[command(flatten)]
    pub permissions: Permissions,
    /// How to print.
    #[command(flatten)]
    pub output: Output,
}

/// What an MCP server serves, and to whom.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// The project directory, to which relative paths and capabilities refer.
    #[arg(long, value_name = "PATH", default_value = ".")]
    pub dir: PathBuf,
    /// What its clients may do; none can ask for more. Default: read:. tool:* spawn:1000
    #[command(flatten)]
    pub permissions: Permissions,
    /// Who answers for models in each run that clients start, and how much it may use.
    #[command(flatten)]
    pub bounds: Bounds,
    /// On which way.
    #[command(flatten)]
    pub http: HttpArgs,
}

/// An MCP server on HTTP.
#[derive(Debug, Args)]
pub struct HttpArgs {
    /// Serve streamable HTTP at ADDRESS:PORT, path /mcp, instead of standard input and output. Without a value: 127.0.0.1:8765.
    #[arg(long, value_name = "ADDRESS:PORT", num_args = 0..=1, default_missing_value = "127.0.0.1:8765")]
    pub http: Option<SocketAddr>,
    /// The file that holds the token clients must send. Default: VESPIARY_MCP_TOKEN, or a token that is made once and kept.
    #[arg(long, value_name = "FILE", requires = "http")]
    pub token_file: Option<PathBuf>,
    /// A host name by which clients may call the server, beside this machine's own names; with :PORT for that port only.
    #[arg(long, value_name = "HOST", requires = "http")]
    pub allow_host: Vec<String>,
    /// An origin from which a browser may call it, beside this machine's own, with its scheme: `https://app.example.com`
    #[arg(long, value_name = "ORIGIN", requires = "http")]
    pub allow_origin: Vec<String>,
    /// Sessions open at once.
    #[arg(long, value_name = "N", default_value_t = 512, requires = "http")]
    pub sessions: usize,
    /// How clients call it, where a proxy stands before it: `https://tools.example.com/mcp`
    #[arg(long, value_name = "URL", requires = "http")]
    pub public_url: Option<String>,
    /// Let in whoever has a token of this authorization server, in place of one token for all.
    #[arg(long, value_name = "URL", requires = "http", conflicts_with = "token_file")]
    pub oauth_issuer: Option<String>,
    /// What such a token must be for: this server's URL, usually.
    #[arg(long, value_name = "URL", requires = "oauth_issuer")]
    pub oauth_audience: Option<String>,
    /// The keys that sign such tokens: a JWK set, as a file or an https URL.
    #[arg(long, value_name = "FILE|URL", requires = "oauth_issuer")]
    pub oauth_jwks: Option<String>,
    /// The scope that such a token must have.
    #[arg(long, value_name = "SCOPE", requires = "oauth_issuer")]
    pub oauth_scope: Option<String>,
}
