//! The archive for a machine without a network: the same inputs make the same bytes, and it works in a root where nothing else is.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::needs::skipped;
use crate::program::succeed;

/// What a shell script expects of a machine.
const TOOLS: [&str; 12] = ["sh", "mkdir", "cp", "chmod", "rm", "grep", "sha256sum", "dirname", "tar", "gzip", "cat", "env"];

/// A root with a shell and small tools, the libraries that they and the program are linked with, and no compiler or Python.
fn empty_root(at: &Path) -> PathBuf {
    let root = at.join("root");
    for folder in ["bin", "tmp", "proc", "dev", "home"] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    let mut programs = vec![PathBuf::from(env!("CARGO_BIN_EXE_eliteloop"))];
    for tool in TOOLS {
        let found = std::env::split_paths(&std::env::var_os("PATH").unwrap()).map(|folder| folder.join(tool)).find(|path| path.is_file());
        let found = found.unwrap_or_else(|| panic!("{tool} is not in PATH"));
        std::fs::copy(&found, root.join("bin").join(tool)).unwrap();
        programs.push(found);
    }
    for program in programs {
        for word in succeed(Command::new("ldd").arg(&program)).split_whitespace().filter(|word| word.starts_with('/')) {
            let to = root.join(word.trim_start_matches('/'));
            std::fs::create_dir_all(to.parent().unwrap()).unwrap();
            std::fs::copy(word, to).unwrap();
        }
    }
    root
}

/// A shell in namespaces of its own: no network, no processes but its own, and mounts that go with it.
fn apart(script: &str) -> Command {
    let mut command = Command::new("unshare");
    // SAFETY: it only asks.
    if unsafe { libc::geteuid() } != 0 {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--net", "--mount", "--pid", "--fork", "sh", "-ec", script, "sh"]);
    command
}

#[test]
fn the_archive_is_the_same_each_time_and_works_where_nothing_else_is() {
    needs!(Minutes, Model);
    if !apart("true").output().is_ok_and(|output| output.status.success()) {
        // Not for want of a tool that could be installed.
        skipped("this machine lets nobody make namespaces");
        return;
    }
    let base = tempfile::tempdir().unwrap();
    let root = empty_root(base.path());
    let bundle = |out: &Path| {
        let mut command = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/bundle"));
        command
            .args(["--without", "sources", "--without", "sbom", "--without", "book", "--program", env!("CARGO_BIN_EXE_eliteloop")])
            .arg(out);
        succeed(command)
    };
    let out = root.join("home/bundle.tar.gz");
    let (said, again) = (bundle(&out), base.path().join("bundle.tar.gz"));
    assert_eq!(bundle(&again), said, "the hash of the same bytes");
    let inside = "cd /home && tar xzf bundle.tar.gz && rm bundle.tar.gz && cd eliteloop-* && ./check && ./install && cd .. && rm -r eliteloop-* \
                  && export PATH=$PATH:/home/.local/bin && eliteloop models verify smollm2-135m-instruct && eliteloop dirs && ! command -v python3 && ! command -v cc";
    let script = "mount -t proc proc \"$1/proc\"; mount --rbind /dev \"$1/dev\"; exec env -i HOME=/home PATH=/bin \"$(command -v chroot)\" \"$1\" /bin/sh -ec \"$2\"";
    let mut command = apart(script);
    let said = succeed(command.arg(&root).arg(inside).env("PATH", "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"));
    for line in [
        "all files are as they were packed",
        "the program works on this machine",
        "log-probabilities",
        "/home/.local/share/eliteloop/models",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    // A byte of it changed is noticed.
    let changed = "cd /home && tar xzf ../bundle.tar.gz && cd eliteloop-* && echo >>README.md && ./check --files";
    std::fs::copy(&again, root.join("bundle.tar.gz")).unwrap();
    let mut command = apart(script);
    let output =
        command.arg(&root).arg(changed).env("PATH", "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success() && said.contains("README.md: FAILED") && said.contains("not as they were packed"), "{said}");
}
