//! A story in a text: policies, a world, and what happens when.
//!
//! ```text
//! include shop.txt                      what stands in that file, as if it stood here
//! policy:                               the policies in force, as in a policy file, indented
//!   policies: …
//! policy v2:                            other ones, for `reload v2`
//! peers 2                               Alertmanager peers (1)
//! cluster-name none                     no name of the cluster is set (`prod`)
//! service -2d                           when backout was first started (2 days before)
//! latency write=5s                      how long things take: inbox, read, prepare, write, tell, watch
//! channel pager                         what has no time was so from the beginning
//! at -3d deployment shop/checkout image=shop:1
//! at 2m alert HighErrorRate namespace=shop deployment=checkout
//! at 3m clock leaps -1h                 the clock of backout's machine is set; the world's go on
//! on executing +500ms restart           once, that long after an incident entered the phase
//! each approval +30s approve            each time
//! until 30m
//! ```
//!
//! What can befall the service itself stands in `fault.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::command::{self, Command};
use super::driver::{Driver, Hook, Latency};
use super::line::{Line, parse_duration};
use super::world::World;
use crate::model::Time;
use crate::policy::{SourceFile, diagnostic, load};

/// A story that was read.
#[derive(Clone, Debug)]
pub struct Script {
    /// Texts of policies, by name.
    pub policies: BTreeMap<String, String>,
    /// What is so from the beginning.
    pub always: Vec<Command>,
    /// What happens, by its time; those before zero are the past.
    pub timeline: Vec<(Time, Command)>,
    /// What happens when an incident is somewhere.
    pub hooks: Vec<Hook>,
    /// When backout is first started.
    pub service: Time,
    /// When it ends.
    pub until: Time,
    /// The time that counts as zero.
    pub zero: Time,
    peers: usize,
    cluster: Option<String>,
    latency: Latency,
}

impl Script {
    /// Reads a story. `include` gives the text of a file.
    ///
    /// # Errors
    /// The line, and what was expected.
    pub fn parse(text: &str, include: &dyn Fn(&str) -> Result<String, String>) -> Result<Self, String> {
        // 2026-03-02T09:00:00Z, a Monday.
        let zero = Time::from_millis(1_772_442_000_000);
        let mut script = Self {
            policies: BTreeMap::new(),
            always: Vec::new(),
            timeline: Vec::new(),
            hooks: Vec::new(),
            service: zero - Duration::from_secs(2 * 86_400),
            until: zero + Duration::from_secs(3600),
            zero,
            peers: 1,
            cluster: Some("prod".to_owned()),
            latency: Latency::default(),
        };
        script.read(text, include)?;
        script.timeline.sort_by_key(|(at, _)| *at);
        Ok(script)
    }

    fn read(&mut self, text: &str, include: &dyn Fn(&str) -> Result<String, String>) -> Result<(), String> {
        let mut lines = text.lines().enumerate().peekable();
        while let Some((number, text)) = lines.next() {
            let trimmed = text.trim();
            if trimmed.is_empty() || trimmed.starts_with('#') {
                continue;
            }
            if let Some(name) = trimmed.strip_prefix("policy").and_then(|rest| rest.strip_suffix(':')) {
                let mut block = String::new();
                while let Some((_, line)) = lines.next_if(|(_, line)| line.starts_with(' ') || line.trim().is_empty()) {
                    block.push_str(line.strip_prefix("  ").unwrap_or(line));
                    block.push('\n');
                }
                let name = if name.trim().is_empty() { "main" } else { name.trim() };
                self.policies.insert(name.to_owned(), block);
                continue;
            }
            self.line(&mut Line::split(trimmed), include).map_err(|why| format!("line {}: {why}", number + 1))?;
        }
        Ok(())
    }

    fn line(&mut self, line: &mut Line, include: &dyn Fn(&str) -> Result<String, String>) -> Result<(), String> {
        let about = line.word("what this line is about")?;
        match about.as_str() {
            "include" => {
                let file = line.word("a file")?;
                let text = include(&file)?;
                self.read(&text, include).map_err(|why| format!("{file}: {why}"))?;
            }
            "at" => {
                let at = self.time(&line.word("a time")?)?;
                self.timeline.push((at, command::parse(line)?));
                return Ok(());
            }
            "on" | "each" => {
                let phase = line.word("a phase")?;
                let delay = line.next_if_delay().map_or(Ok(Duration::ZERO), |text| parse_duration(&text))?;
                self.hooks.push(Hook { phase, delay, command: command::parse(line)?, again: about == "each" });
                return Ok(());
            }
            "peers" => self.peers = number(&line.word("a number")?)?,
            "cluster-name" => self.cluster = Some(line.word("a name")?).filter(|name| name != "none"),
            "service" => self.service = self.time(&line.word("a time")?)?,
            "until" => self.until = self.time(&line.word("a time")?)?,
            "latency" => {
                for (name, span) in Latency::read_line(line)? {
                    self.latency.set(&name, span);
                }
            }
            // What is said without a time was always so.
            _ => {
                line.put_back(about);
                self.always.push(command::parse(line)?);
                return Ok(());
            }
        }
        line.finish()
    }

    fn time(&self, text: &str) -> Result<Time, String> {
        match text.strip_prefix('-') {
            Some(text) => Ok(self.zero - parse_duration(text)?),
            None => Ok(self.zero + parse_duration(text)?),
        }
    }

    /// The driver of this story, at its beginning: policies are read, nothing has happened.
    ///
    /// # Errors
    /// The problems of its policies.
    pub fn driver(&self) -> Result<Driver, String> {
        let mut sets = BTreeMap::new();
        for (name, text) in &self.policies {
            let file = SourceFile { path: "policy.yaml".to_owned(), bytes: text.clone().into_bytes() };
            let loaded = load(&[file], self.cluster.is_some());
            let loaded = loaded.map_err(|problems| format!("policy {name}: {}", diagnostic::to_text(&problems)))?;
            sets.insert(name.clone(), Arc::new(loaded.policies));
        }
        let first = self.timeline.first().map_or(self.service, |(at, _)| (*at).min(self.service));
        let mut driver = Driver::new(World::new(first, self.peers), sets, first, self.zero);
        driver.cluster.clone_from(&self.cluster);
        driver.latency = self.latency;
        driver.hooks.clone_from(&self.hooks);
        for command in &self.always {
            driver.schedule(first, command.clone());
        }
        driver.schedule(self.service, Command::Process { crash: false, start: true });
        for (at, command) in &self.timeline {
            driver.schedule(*at, command.clone());
        }
        Ok(driver)
    }

    /// Tells the whole story.
    ///
    /// # Errors
    /// The problems of its policies.
    pub fn tell(&self) -> Result<Driver, String> {
        let mut driver = self.driver()?;
        driver.run_until(self.until);
        driver.finish();
        Ok(driver)
    }
}

fn number(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("`{text}` is no number"))
}
