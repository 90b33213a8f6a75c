//! Where the report of a run goes: one file that is always the last one's and, in the state directory, those before it.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde_json::Value;

use crate::{failure::Failure, plan::Plan, rejects::stamp, replace::Destination, report::Report};

/// The file of a job's reports.
pub(super) struct File {
    /// Its path.
    pub(super) path: PathBuf,
    /// In the state directory older reports are kept: so many with the last.
    keep: Option<usize>,
}

impl File {
    /// The file that the command line names, or the spec, or the usual one. Without a path of its own a rehearsal has
    /// none: it leaves the report of the last real run alone.
    pub(super) fn of(plan: &Plan, asked: Option<&Path>, dry_run: bool) -> Option<File> {
        let named = asked.or(plan.report.as_deref()).map(|path| File { path: path.to_owned(), keep: None });
        named.or_else(|| (!dry_run).then(|| File { path: usual(plan), keep: Some(plan.keep) }))
    }

    /// Writes the report beside its place and renames it: a reader never sees half of one. What is not a regular file
    /// is written into.
    pub(super) fn save(&self, report: &Report) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(report).unwrap_or_default() + "\n";
        let creating = |error: io::Error| Failure::creating(&self.path, &error);
        let to = match self.path.as_os_str().as_encoded_bytes().ends_with(b"/") {
            true => Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder")),
            false => Destination::of(&self.path),
        };
        let to = to.map_err(creating)?;
        if to.is_stream() {
            return to.open().and_then(|mut file| file.write_all(text.as_bytes())).map_err(creating);
        }
        let mut name = to.path().file_name().unwrap_or_default().to_owned();
        // The job's lock keeps others away from it. What a killed process leaves under it the next one replaces.
        name.push(".tmp-report");
        let temporary = to.path().with_file_name(name);
        let write = || {
            if let Some(folder) = to.path().parent() {
                fs::create_dir_all(folder)?;
            }
            fail::fail_point!("report-write", |_| Err(io::ErrorKind::StorageFull.into()));
            to.create(&temporary)?.write_all(text.as_bytes())?;
            if let Some(keep) = self.keep {
                self.put_away(keep)?;
            }
            fail::fail_point!("report-rename", |_| Err(io::ErrorKind::StorageFull.into()));
            to.take(&temporary)
        };
        write().map_err(|error| {
            // It is of no use; that it cannot be removed changes nothing about the failure.
            let _ = fs::remove_file(&temporary);
            creating(error)
        })
    }

    /// Keeps the report that is about to be replaced under the time when it was written, and removes the oldest.
    fn put_away(&self, keep: usize) -> io::Result<()> {
        let Some((folder, job)) = self.older() else { return Ok(()) };
        if keep > 1 {
            let written = match fs::metadata(&self.path) {
                Ok(metadata) => metadata.modified()?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(error),
            };
            fs::create_dir_all(&folder)?;
            let stamp = stamp(written).replace([':', '-'], "");
            // There are file systems without links.
            let older = folder.join(format!("{job}.{stamp}.json"));
            let _ = fs::remove_file(&older);
            fs::hard_link(&self.path, &older).or_else(|_| fs::copy(&self.path, &older).map(|_| ()))?;
        }
        let mut all = match list(&folder, &job) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            all => all?,
        };
        all.sort();
        let surplus = all.len().saturating_sub(keep - 1);
        all[..surplus].iter().try_for_each(fs::remove_file)
    }

    /// The folder of older reports, and what their names begin with.
    fn older(&self) -> Option<(PathBuf, String)> {
        let job = self.path.file_name()?.to_str()?.strip_suffix(".report.json")?;
        Some((self.path.with_file_name("reports"), job.to_owned()))
    }
}

/// The reports of a job in a folder. No job's name has a point in it.
fn list(folder: &Path, job: &str) -> io::Result<Vec<PathBuf>> {
    let own = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.split('.').next() == Some(job) && name.ends_with("Z.json"))
    };
    let paths = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
    paths.filter(|path| path.as_ref().map_or(true, own)).collect()
}

fn usual(plan: &Plan) -> PathBuf {
    plan.state.join(format!("{}.report.json", plan.name))
}

/// How the last run ended, as its report has it: `None` where there is none, or none that can be read.
pub(super) fn last(plan: &Plan) -> Option<(PathBuf, Value)> {
    let path = plan.report.clone().unwrap_or_else(|| usual(plan));
    let report: Value = serde_json::from_str(&fs::read_to_string(&path).ok()?).ok()?;
    (report["job"] == plan.name.as_str()).then_some((path, report))
}
