//! What a child that runs others' work may ask of the system: no file but those it is given, no connection, no other program. On Linux
//! Landlock and a seccomp filter see to it, whatever the limits inside the child let through; where the kernel lacks one of them the other
//! and the limits remain, and [`missing`] says so.

use std::path::Path;

/// Confines this process and all that it starts: no file may be opened but beneath the folders `writes`. Threads that run already are under
/// the filter and not under Landlock, so it is called before there are any.
///
/// # Errors
/// The kernel has what is asked of it, and refuses.
#[cfg(target_os = "linux")]
pub(crate) fn confine(writes: &[&Path]) -> std::io::Result<()> {
    landlock(writes).map_err(std::io::Error::other)?;
    if writes.is_empty() { filter(&[NEVER, OPENS].concat()) } else { filter(NEVER) }
}

/// Nothing, where there is nothing to confine by.
#[cfg(not(target_os = "linux"))]
pub(crate) fn confine(_: &[&Path]) -> std::io::Result<()> {
    Ok(())
}

/// What of it this kernel lacks, or the container that this process runs in withholds, as a line for people; None where all is there.
#[cfg(target_os = "linux")]
#[must_use]
pub fn missing() -> Option<&'static str> {
    match offered() {
        (true, true) => None,
        (false, true) => Some("no Landlock here: sandboxes and workers have their limits and a seccomp filter alone"),
        (true, false) => Some("no seccomp filters here: sandboxes and workers have their limits and Landlock alone"),
        (false, false) => Some("neither Landlock nor seccomp filters here: sandboxes and workers have their limits alone"),
    }
}

/// As for Linux.
#[cfg(not(target_os = "linux"))]
#[must_use]
pub(crate) fn missing() -> Option<&'static str> {
    Some("only Linux has Landlock and seccomp filters: sandboxes and workers have their limits alone")
}

/// Whether Landlock and seccomp filters are to be had.
#[cfg(target_os = "linux")]
fn offered() -> (bool, bool) {
    // A question for the version of Landlock.
    const VERSION: libc::c_ulong = 1;
    let refusal = libc::SECCOMP_RET_ERRNO;
    // SAFETY: the first call is given no attributes, so none are read; the second only asks for what a filter may do.
    unsafe {
        (
            libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0_usize, VERSION) > 0,
            libc::syscall(libc::SYS_seccomp, libc::c_ulong::from(libc::SECCOMP_GET_ACTION_AVAIL), 0_usize, &raw const refusal) == 0,
        )
    }
}

#[cfg(target_os = "linux")]
fn landlock(writes: &[&Path]) -> Result<(), landlock::RulesetError> {
    use landlock::{ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetCreatedAttr, path_beneath_rules};
    // What an older kernel does not know is left out.
    let version = ABI::V4;
    Ruleset::default()
        .handle_access(AccessFs::from_all(version))?
        .handle_access(AccessNet::from_all(version))?
        .create()?
        .add_rules(path_beneath_rules(writes, AccessFs::from_all(version)))?
        .restrict_self()?;
    Ok(())
}

/// Connections, other programs and processes, what reaches into other processes, and what changes the system.
#[cfg(target_os = "linux")]
const NEVER: &[libc::c_long] = &[
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kill,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_open_by_handle_at,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_sethostname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
];

/// Files, for a child that needs none.
#[cfg(target_os = "linux")]
const OPENS: &[libc::c_long] = &[
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_unlinkat,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_fchmodat,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_truncate,
    libc::SYS_memfd_create,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_creat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mkdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rmdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_renameat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_link,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_symlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chown,
];

/// Refuses these system calls to all threads of this process from now on.
#[cfg(target_os = "linux")]
fn filter(refused: &[libc::c_long]) -> std::io::Result<()> {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter_all_threads};
    // An architecture that the filter's language has no name for.
    let Ok(architecture) = std::env::consts::ARCH.try_into() else { return Ok(()) };
    let rules = refused.iter().map(|call| (*call, Vec::new())).collect();
    let refuse = SeccompAction::Errno(libc::EPERM as u32);
    let program: BpfProgram =
        SeccompFilter::new(rules, SeccompAction::Allow, refuse, architecture).and_then(TryInto::try_into).map_err(std::io::Error::other)?;
    match apply_filter_all_threads(&program) {
        Ok(()) => Ok(()),
        // A kernel without filters, or a container whose own filter refuses the call.
        Err(seccompiler::Error::Seccomp(error) | seccompiler::Error::Prctl(error))
            if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS | libc::EPERM | libc::EACCES)) =>
        {
            Ok(())
        }
        Err(error) => Err(std::io::Error::other(error)),
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::Write;
    use std::net::TcpStream;
    use std::process::{Command, Stdio};

    use super::*;

    const FOLDER: &str = "ELITELOOP_CONFINED";

    /// What a confined child does; started by the test below, in a process of its own.
    #[test]
    #[ignore = "the child of the test below"]
    fn the_child() {
        let folder = std::env::var(FOLDER).unwrap();
        let writes: Vec<&Path> = if folder == "none" { Vec::new() } else { vec![Path::new(&folder)] };
        confine(&writes).unwrap();
        let refused = |done: std::io::Result<()>| done.is_err_and(|e| matches!(e.raw_os_error(), Some(libc::EPERM | libc::EACCES)));
        let mut all = vec![
            ("read", refused(std::fs::File::open("/etc/passwd").map(drop))),
            ("write", refused(std::fs::write("/tmp/eliteloop-confined", "x"))),
            ("folder", refused(std::fs::read_dir("/").map(drop))),
            ("connect", refused(TcpStream::connect("127.0.0.1:9").map(drop))),
            ("exec", refused(Command::new("/bin/true").stdin(Stdio::null()).status().map(drop))),
            ("kill", refused(if unsafe { libc::kill(libc::getppid(), 0) } == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) })),
            ("thread", std::thread::spawn(move || refused(std::fs::File::open("/etc/passwd").map(drop))).join().unwrap()),
            ("work", vec![1_u8; 1 << 20].iter().map(|x| u64::from(*x)).sum::<u64>() == 1 << 20),
        ];
        if folder != "none" {
            all.push(("given", std::fs::write(Path::new(&folder).join("state"), "x").is_ok()));
        }
        let failed: Vec<&str> = all.iter().filter(|(_, holds)| !holds).map(|(name, _)| *name).collect();
        // On standard output: what a harness says of a panic depends on its settings.
        writeln!(std::io::stdout(), "let through: {failed:?}").unwrap();
        assert!(failed.is_empty());
    }

    #[test]
    fn a_confined_child_opens_connects_and_executes_nothing() {
        let given = tempfile::tempdir().unwrap();
        for folder in ["none", given.path().to_str().unwrap()] {
            let mut child = Command::new(std::env::current_exe().unwrap());
            child.args(["--ignored", "--exact", "base::confine::tests::the_child", "--test-threads=1"]).env(FOLDER, folder);
            let output = child.output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            let (landlock, seccomp) = offered();
            if !seccomp || (!landlock && folder != "none") {
                // Without Landlock a child with a folder may open others, and without a filter it may do more.
                assert!(said.contains("let through") && missing().is_some(), "{folder}: {said}");
                continue;
            }
            assert!(output.status.success() && said.contains("1 passed"), "{folder}: {said}{}", String::from_utf8_lossy(&output.stderr));
        }
    }
}
