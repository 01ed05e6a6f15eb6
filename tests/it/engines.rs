//! Engines that trainings are handed to, as the tests start them: HyperQueue's server and workers, and a Slurm cluster of this machine alone.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::needs::venv;

/// What to call HyperQueue by: `hq` of PATH, or `tests/fixtures/hyperqueue/hq` on what pip brings. Err says why there is neither.
pub fn hyperqueue() -> Result<&'static Path, &'static str> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    FOLDER.get_or_init(find_hyperqueue).as_ref().map(PathBuf::as_path).map_err(String::as_str)
}

/// The folder of the `hq` that is used.
fn find_hyperqueue() -> Result<PathBuf, String> {
    if let Some(folder) = in_path("hq") {
        return Ok(folder);
    }
    let python = venv("hyperqueue", "hyperqueue", &["hyperqueue==0.27.*"])?;
    // A command by that name, which knows its Python.
    let made = python.ancestors().nth(2).unwrap();
    let (folder, commands) = (made.join("commands"), Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/hyperqueue/hq"));
    let script = format!("#!/bin/sh\nexec '{}' '{}' \"$@\"\n", python.display(), commands.display());
    let write = || {
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("hq"), script)?;
        std::fs::set_permissions(folder.join("hq"), std::os::unix::fs::PermissionsExt::from_mode(0o755))
    };
    write().map_err(|e: std::io::Error| e.to_string())?;
    Ok(folder)
}

fn in_path(command: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).find(|folder| folder.join(command).is_file())
}

/// PATH with `folder` before all else.
pub fn path_with(folder: &Path) -> OsString {
    let others = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths([folder.to_owned()].into_iter().chain(std::env::split_paths(&others))).unwrap()
}

/// A HyperQueue server with workers of one core each; ended with this.
pub struct HyperQueue {
    workers: usize,
    folder: tempfile::TempDir,
    processes: Vec<Child>,
}

impl HyperQueue {
    pub fn start() -> Self {
        Self::with_workers(2)
    }

    pub fn with_workers(workers: usize) -> Self {
        let mut engine = Self { workers, folder: tempfile::tempdir().unwrap(), processes: Vec::new() };
        engine.begin();
        engine
    }

    fn hq(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(hyperqueue().unwrap().join("hq"));
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.use_in(&mut command);
        command
    }

    /// Lets a command find `hq` and this server.
    pub fn use_in<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("PATH", path_with(hyperqueue().unwrap())).env("HQ_SERVER_DIR", self.folder.path().join("server"))
    }

    /// Starts a server in the same place, which knows nothing of an earlier one.
    pub fn begin(&mut self) {
        let is_package = hyperqueue().unwrap().ends_with("hyperqueue/commands");
        let workers = self.workers.to_string();
        let all = ["server", "start", "--workers", &workers];
        // `hq` itself starts none with its server.
        let server = &all[..if is_package { 4 } else { 2 }];
        self.processes.push(self.hq(server).spawn().unwrap());
        let began = Instant::now();
        while !self.hq(&["server", "info", "--output-mode", "json"]).status().unwrap().success() {
            assert!(began.elapsed() < Duration::from_mins(1), "no server of HyperQueue");
            std::thread::sleep(Duration::from_millis(100));
        }
        // The package's server has its workers with it.
        if !is_package {
            for _ in 0..self.workers {
                self.processes.push(self.hq(&["worker", "start", "--cpus", "1"]).spawn().unwrap());
            }
        }
    }

    /// Kills server and workers.
    pub fn kill(&mut self) {
        for mut process in self.processes.drain(..) {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }
}

impl Drop for HyperQueue {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The folder of Slurm's daemons, where they and `munged` are installed and this user may start jobs by them.
pub fn slurm() -> Option<PathBuf> {
    // Another user than root would need a cluster that knows the user.
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    let daemons = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from).into_iter().find(|folder| folder.join("slurmctld").is_file())?;
    (is_root && daemons.join("slurmd").is_file() && daemons.join("munged").is_file() && in_path("sbatch").is_some()).then_some(daemons)
}

/// A cluster of one node with two cores, which is this machine; ended with this.
pub struct Slurm {
    folder: tempfile::TempDir,
    processes: Vec<Child>,
}

impl Slurm {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (daemons, at) = (slurm().unwrap(), folder.path().display().to_string());
        // munged takes no key that others may read, and no socket in a folder that others may write to.
        std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::write(folder.path().join("munge.key"), [7; 64]).unwrap();
        std::fs::set_permissions(folder.path().join("munge.key"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        let host = host.trim().split('.').next().unwrap();
        let [controller, node] = [free_port(), free_port()];
        let settings = format!(
            "ClusterName=tests\nSlurmctldHost={host}(127.0.0.1)\nSlurmUser=root\nSlurmdUser=root\nAuthType=auth/munge\n\
             AuthInfo=socket={at}/munge.sock\nSlurmctldPort={controller}\nSlurmdPort={node}\nStateSaveLocation={at}/state\n\
             SlurmdSpoolDir={at}/spool\nSlurmctldPidFile={at}/slurmctld.pid\nSlurmdPidFile={at}/slurmd.pid\n\
             SlurmctldLogFile={at}/slurmctld.log\nSlurmdLogFile={at}/slurmd.log\nProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\n\
             JobAcctGatherType=jobacct_gather/none\nSelectType=select/cons_tres\nSelectTypeParameters=CR_Core_Memory\nMpiDefault=none\n\
             ReturnToService=2\nSchedulerParameters=sched_interval=1,batch_sched_delay=0\n\
             NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=12000 State=UNKNOWN\n\
             PartitionName=short Nodes={host} Default=YES MaxTime=INFINITE State=UP\n"
        );
        std::fs::write(folder.path().join("slurm.conf"), settings).unwrap();
        for name in ["state", "spool"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let mut cluster = Self { folder, processes: Vec::new() };
        let munge = ["key-file=munge.key", "socket=munge.sock", "pid-file=munged.pid", "log-file=munged.log", "seed-file=munged.seed"];
        let mut munged: Vec<String> = munge.iter().map(|option| format!("--{}", option.replace('=', &format!("={at}/")))).collect();
        munged.extend(["--force", "--foreground"].map(String::from));
        let foreground = || ["-D", "-c"].map(String::from).to_vec();
        for (daemon, arguments) in [("munged", munged), ("slurmctld", foreground()), ("slurmd", foreground())] {
            let mut command = Command::new(daemons.join(daemon));
            command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            cluster.processes.push(cluster.use_in(&mut command).spawn().unwrap());
            if daemon == "munged" {
                cluster.wait_until("munged", || cluster.folder.path().join("munge.sock").exists());
            }
        }
        let idle = || {
            let mut look = Command::new("sinfo");
            look.args(["--noheader", "--format=%T"]);
            cluster.use_in(&mut look).output().is_ok_and(|output| output.stdout.starts_with(b"idle"))
        };
        cluster.wait_until("slurmd", idle);
        cluster
    }

    fn wait_until(&self, daemon: &str, is_up: impl Fn() -> bool) {
        let began = Instant::now();
        while !is_up() {
            assert!(began.elapsed() < Duration::from_mins(1), "{daemon} does not come up in {}", self.folder.path().display());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Lets a command find this cluster.
    pub fn use_in<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("SLURM_CONF", self.folder.path().join("slurm.conf"))
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        for mut process in self.processes.drain(..).rev() {
            // A job's own processes are ended with their daemon's word.
            let _ = Command::new("kill").arg(process.id().to_string()).status();
            let _ = process.wait();
        }
    }
}

/// A port of this machine that nobody has at the moment.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
