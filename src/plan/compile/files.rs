//! What a job writes and reads must not get into each other's way.

use std::{
    collections::{HashMap, hash_map::Entry},
    path::{Component, PathBuf},
    sync::Arc,
};

use super::Compiler;
use crate::{
    jobspec::{Path, Problem, Section, SpecLocation},
    plan::{Role, Stage},
    stage::Reads,
};

impl Compiler<'_> {
    /// A file is written by one sink, or by the run itself: the last of two would replace what the first wrote.
    pub(super) fn check_files(&mut self) {
        let key = |section: &str| Path::default().key(section).key("path");
        let own = [("rejects", &self.job.rejects), ("report", &self.job.report)];
        let own = own.into_iter().filter_map(|(section, path)| Some((path.clone()?, key(section))));
        let sinks = self.stages.iter().flat_map(|stage| match &stage.role {
            Role::Sink(sink) => {
                let at = Path::default().key(Section::Sinks.key()).entry(&stage.name).key("path");
                sink.properties().files.into_iter().map(|file| (file, at.clone())).collect()
            }
            _ => Vec::new(),
        });
        let mut written: HashMap<PathBuf, Path> = HashMap::new();
        let mut twice = Vec::new();
        // One that only the environment knows is empty while a spec is checked.
        for (file, at) in own.chain(sinks).filter(|(file, _)| !file.as_os_str().is_empty()) {
            let plain = file.components().filter(|part| *part != Component::CurDir).collect();
            match written.entry(plain) {
                Entry::Occupied(first) => twice.push((file, first.get().clone(), at)),
                Entry::Vacant(free) => _ = free.insert(at),
            }
        }
        for (file, first, at) in twice {
            let message = format!("`{}` is already written by `{first}`", file.display());
            self.problems.push(Problem::new("same-file", SpecLocation::value(at), message));
        }
        self.check_inputs();
    }

    /// A job that writes what it reads destroys its input, or finds in the next run what it wrote in this one.
    fn check_inputs(&mut self) {
        let reads = |stage: &Stage| match &stage.role {
            Role::Source(source) => Some((stage.name.clone(), source.reads()?)),
            _ => None,
        };
        let sources: Vec<(String, Reads)> = self.stages.iter().filter_map(reads).collect();
        let key = |section: &str| Path::default().key(section).key("path");
        let own = [("rejects", &self.job.rejects), ("report", &self.job.report)];
        let mut written: Vec<(PathBuf, Path)> =
            own.into_iter().filter_map(|(section, path)| Some((path.clone()?, key(section)))).collect();
        for stage in &self.stages {
            if let Role::Sink(sink) = &stage.role {
                let at = Path::default().key(Section::Sinks.key()).entry(&stage.name).key("path");
                written.extend(sink.may_write().into_iter().map(|file| (file, at.clone())));
                sink.avoid(sources.iter().map(|(_, reads)| Arc::clone(reads)).collect());
            }
        }
        for (file, at) in written.into_iter().filter(|(file, _)| !file.as_os_str().is_empty()) {
            if let Some((source, _)) = sources.iter().find(|(_, reads)| reads(&file)) {
                let message = format!(
                    "`{}` is what `{source}` reads: the job would overwrite its input, or read again what it wrote",
                    file.display()
                );
                let help = Some(format!("write to another folder, or narrow the `path` of `{source}`"));
                self.problems.push(Problem::new("reads-output", SpecLocation::value(at), message).help(help));
            }
        }
    }
}
