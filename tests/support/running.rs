//! A process of one test: it ends with the test, and a failed test shows what it said.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use serde_json::Value;

use super::{Scratch, wait_until};

/// Bytes of each output that a failed test shows.
const TAIL_LEN: usize = 2_000;

pub(crate) struct Running {
    name: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Running {
    /// Starts `command`. Its outputs go to files of the scratch folder named after `name`; its
    /// standard input is a pipe that is closed when this guard, or the whole test, ends.
    pub(crate) fn start(scratch: &Scratch, name: &str, command: &mut Command) -> Self {
        let stdout = scratch.path(&format!("{name}.stdout"));
        let stderr = scratch.path(&format!("{name}.stderr"));
        let child = command
            .stdin(Stdio::piped())
            .stdout(File::create(&stdout).unwrap())
            .stderr(File::create(&stderr).unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        Self { name: name.to_owned(), child, stdout, stderr }
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.stdout).unwrap()).into_owned()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.stderr).unwrap()).into_owned()
    }

    /// Polls `ready`; panics, naming `what`, when the process ends before, or time runs out.
    pub(crate) fn wait_for<T>(
        &mut self,
        what: &str,
        mut ready: impl FnMut(&Self) -> Option<T>,
    ) -> T {
        let name = self.name.clone();
        let met = wait_until(|| {
            // The order matters: what was said before the end counts.
            let ended = self.child.try_wait().unwrap();
            let met = ready(self);
            if let (None, Some(status)) = (&met, ended) {
                panic!("{name} ended with {status} before: {what}");
            }
            met
        });
        met.unwrap_or_else(|| panic!("{name} hangs before: {what}"))
    }

    /// Waits for the first NDJSON event called `event` on standard output. Every line must be a
    /// JSON object with an `event`.
    pub(crate) fn wait_for_event(&mut self, event: &str) -> Value {
        self.wait_for(event, |running| running.events().into_iter().find(|e| e["event"] == event))
    }

    /// All events that stand on standard output so far.
    pub(crate) fn events(&self) -> Vec<Value> {
        let stdout = self.stdout();
        let whole_lines = stdout.rfind('\n').map_or("", |end| &stdout[..end]);
        whole_lines.lines().map(|line| event(&self.name, line)).collect()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// The number by which the system knows the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends the process in the middle of whatever it does, with SIGKILL.
    pub(crate) fn kill(&mut self) -> ExitStatus {
        self.child.kill().unwrap();
        self.wait_for_exit()
    }

    /// Waits for the process to end by itself.
    pub(crate) fn wait_for_exit(&mut self) -> ExitStatus {
        let status = wait_until(|| self.child.try_wait().unwrap());
        status.unwrap_or_else(|| panic!("{} does not end", self.name))
    }

    /// Ends the standard input of the process and waits for it.
    pub(crate) fn end_of_input(&mut self) -> ExitStatus {
        drop(self.child.stdin.take());
        self.wait_for_exit()
    }

    /// Asks the process to end, with SIGTERM, and waits for it.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM")
    }

    /// Asks the process to end as Ctrl-C does, and waits for it.
    pub(crate) fn interrupt(&mut self) -> ExitStatus {
        self.signal("INT")
    }

    fn signal(&mut self, signal: &str) -> ExitStatus {
        assert!(self.is_running(), "{} has ended by itself", self.name);
        let kill = format!("kill -{signal} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success(), "{kill}");
        self.wait_for_exit()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // An error means that it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            for (stream, text) in [("stdout", self.stdout()), ("stderr", self.stderr())] {
                eprintln!("--- the end of {}'s {stream} ---\n{}", self.name, tail(&text));
            }
        }
    }
}

fn event(name: &str, line: &str) -> Value {
    let value: Value = serde_json::from_str(line)
        .unwrap_or_else(|error| panic!("{name} printed no JSON: {line}: {error}"));
    assert!(value["event"].is_string(), "{name} printed no event: {line}");
    value
}

fn tail(text: &str) -> &str {
    let start = text.len().saturating_sub(TAIL_LEN);
    let start = (start..=text.len()).find(|&at| text.is_char_boundary(at));
    &text[start.expect("the end is a boundary")..]
}
