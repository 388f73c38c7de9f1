//! How a server's program is started: as every host program is, behind the walls of `host/programs`, with the scope of the call that
//! was admitted. Here the pillars meet; each knows just the kernel.

use tokio::io::{AsyncRead, AsyncWrite};
use vespiary_kernel::call::Failure;
use vespiary_kernel::ports::BoxFuture;
use vespiary_mcp::launch::{Launch, Launched, Life, Order};
use vespiary_programs::{Opened, ProgramLimits, Programs, Wanted};

/// Processor time of a server's processes together, for as long as one instance lives, seconds.
const CPU_SECONDS_MAX: u64 = 24 * 3600;

/// Starts servers as confined programs.
#[derive(Debug, Clone)]
pub struct Confining(pub Programs);

/// A confined program that lives.
struct Confined(vespiary_programs::Life);

impl Launch for Confining {
    fn launch<'a>(&'a self, order: Order<'a>) -> BoxFuture<'a, Result<Launched, Failure>> {
        Box::pin(async move {
            let wanted = Wanted {
                program: order.program.clone(),
                args: order.args,
                dir: order.dir.map(str::to_owned),
                env: order.env,
                scope: order.scope.clone(),
                root: order.root.to_owned(),
                limits: ProgramLimits {
                    memory_bytes_max: order.memory_bytes_max,
                    cpu_time_max: std::time::Duration::from_secs(CPU_SECONDS_MAX),
                    ..ProgramLimits::default()
                },
            };
            let Opened { stdin, stdout, life } = self.0.open(wanted).await?;
            let stdin: Box<dyn AsyncWrite + Send + Unpin> = Box::new(stdin);
            let stdout: Box<dyn AsyncRead + Send + Unpin> = Box::new(stdout);
            Ok(Launched { stdin, stdout, life: Box::new(Confined(life)) })
        })
    }
}

impl Life for Confined {
    fn stderr(&self) -> String {
        self.0.stderr()
    }

    fn ended(&self) -> BoxFuture<'_, String> {
        Box::pin(self.0.ended())
    }
}
