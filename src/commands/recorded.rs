//! What the verbs do with a folder: the one place that asks whether a run or an audit is recorded there.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use eliteloop::audit::{self, Audit};
use eliteloop::base::error::{Error, Result};
use eliteloop::base::printer;
use eliteloop::compare::{self, searches, text};
use eliteloop::method::run::{More, Run};
use eliteloop::method::verify::{self, Asked, Check};
use eliteloop::record::{Kind, folder};
use eliteloop::report::{self, ReportData};
use eliteloop::theory::values::{self as table, Table};

/// The verbs of a kind of record.
pub struct Verbs {
    /// Threads of its settings.
    pub threads: fn(&Path) -> Result<usize>,
    /// Goes on with it.
    pub resume: fn(&Path, &More, Arc<AtomicBool>) -> Result<()>,
    pub report: fn(&Path) -> Result<ReportData>,
    pub verify: fn(&Path, &Asked) -> Result<Vec<Check>>,
    pub compare: fn(&[PathBuf]) -> Result<Compared>,
}

/// Several side by side, in all forms.
pub struct Compared {
    pub text: String,
    pub json: String,
    pub page: String,
    pub tables: Vec<Table>,
}

const RUN: Verbs = Verbs {
    threads: |path| Ok(folder::settings(path)?.threads),
    resume: |path, more, stop| super::run::go_on(Run::resume(path, more, stop)?, path),
    report: report::collect::collect,
    verify: verify::verify,
    compare: |folders| {
        let all = compare::compare(folders)?;
        let json = serde_json::to_string_pretty(&all)?;
        Ok(Compared { text: text::text(&all), json, page: compare::page(&all), tables: text::tables(&all) })
    },
};

const AUDIT: Verbs = Verbs {
    threads: |path| Ok(audit::record::settings(path)?.threads),
    resume: |path, more, stop| super::audit::go_on(Audit::resume(path, more, stop, printer::note)?, path),
    report: report::audit::collect,
    verify: audit::verify::verify,
    compare: |folders| {
        let arms = searches::compare(folders)?;
        let tables = searches::tables(&arms).to_vec();
        let text = tables.iter().map(table::section).collect::<Vec<_>>().join("\n");
        Ok(Compared { text: text.trim_start().into(), json: serde_json::to_string_pretty(&arms)?, page: searches::page(&arms), tables })
    },
};

/// The verbs of what is recorded in a folder.
pub fn of(path: &Path) -> Result<&'static Verbs> {
    Ok(by_kind(folder::kind(path)?))
}

/// The verbs of what is recorded in all of these.
pub fn of_all(folders: &[PathBuf]) -> Result<&'static Verbs> {
    let kinds = folders.iter().map(|path| folder::kind(path)).collect::<Result<Vec<Kind>>>()?;
    let other = kinds.iter().position(|kind| *kind != kinds[0]);
    if let Some(other) = other {
        return Err(Error::input(format!(
            "{} is {} and {} is {}",
            folders[0].display(),
            kinds[0].phrase(),
            folders[other].display(),
            kinds[other].phrase()
        ))
        .hint("runs are compared with runs, and audits with audits"));
    }
    Ok(by_kind(kinds[0]))
}

fn by_kind(kind: Kind) -> &'static Verbs {
    match kind {
        Kind::Run => &RUN,
        Kind::Audit => &AUDIT,
    }
}
