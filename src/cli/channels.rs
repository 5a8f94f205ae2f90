//! Whether the channels that policies name exist in the settings, and whether anybody can be paged at all. Policies do not know
//! the settings and settings do not know the policies: here they meet, for `check` and for `serve`.

use std::path::Path;

use crate::model::Mode;
use crate::notify::ChannelSettings;
use crate::policy::diagnostic::{Diagnostic, Severity};
use crate::policy::problem::nearest;
use crate::policy::types::{Place, Policies};
use crate::policy::{self, Loaded, SourceFile, channels_named, may_act};
use crate::rules_dir::{self, RulesError};

/// Reads the folder of policies and judges it together with the channels: what `serve` applies, at its start and at each reload.
///
/// # Errors
/// When anything cannot be read or is not right; nothing of the folder is to be applied then.
pub fn load(rules: &Path, cluster_named: bool, channels: &[ChannelSettings]) -> Result<Loaded, RulesError> {
    let files = rules_dir::read(rules)?;
    let mut loaded = policy::load(&files, cluster_named).map_err(RulesError::Wrong)?;
    let problems = problems(&files, &loaded.policies, channels);
    if !problems.is_empty() {
        loaded.warnings.extend(problems);
        return Err(RulesError::Wrong(loaded.warnings));
    }
    loaded.policies.commit = rules_dir::commit(rules);
    Ok(loaded)
}

/// What is wrong between these policies and these channels. `files` are what the policies were read from.
pub fn problems(files: &[SourceFile], policies: &Policies, channels: &[ChannelSettings]) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let mut named = channels_named(policies);
    named.sort_by(|(a, at), (b, other)| (&at.file, at.line, a).cmp(&(&other.file, other.line, b)));
    named.dedup();
    for (name, place) in named.iter().filter(|(name, _)| !channels.iter().any(|channel| channel.name == *name)) {
        let names = || channels.iter().map(|channel| channel.name.as_str());
        let message = format!("there is no channel `{name}` in the settings");
        let list: Vec<&str> = names().collect();
        let expected =
            if list.is_empty() { "the settings have no channels".to_owned() } else { format!("one of {}", ticked(&list)) };
        let help = match nearest(name, names()) {
            Some(near) => format!("did you mean `{near}`? else add it under `channels` in the settings"),
            None => "name a channel of the settings, or add it there under `channels`".to_owned(),
        };
        found.push(Diagnostic {
            expected: Some(expected),
            help: Some(help),
            ..at(files, place, Some(name), "unknown-channel", message)
        });
    }
    if may_act(policies) && !channels.iter().any(ChannelSettings::takes_pages) {
        let acting = policies.policies.iter().find(|policy| policy.mode > Mode::Shadow);
        let (name, place) = acting.map(|policy| (policy.name.as_str(), policy.place.clone())).unwrap_or_default();
        let message = format!("the policy `{name}` could act, and nobody could be paged when that goes wrong");
        let help = "add a channel that takes pages under `channels` in the settings, or leave the policies in `mode: shadow`";
        let expected = Some("at least one channel that takes pages".to_owned());
        let help = Some(help.to_owned());
        found.push(Diagnostic { expected, help, ..at(files, &place, Some(name), "no-page-channel", message) });
    }
    found
}

fn ticked(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// An error at a line; at `word` in it, where that stands there.
pub(super) fn at(files: &[SourceFile], place: &Place, word: Option<&str>, code: &'static str, message: String) -> Diagnostic {
    const LONGEST_EXCERPT: usize = 200;
    let bytes = files.iter().find(|file| file.path == place.file).map_or(&b""[..], |file| &file.bytes);
    let content = String::from_utf8_lossy(bytes);
    let before = usize::try_from(place.line).unwrap_or(1).saturating_sub(1);
    let start: usize = content.split_inclusive('\n').take(before).map(str::len).sum();
    let line = content.lines().nth(before).unwrap_or_default();
    let whole = line.len() - line.trim_start().len()..line.len();
    let range = word.and_then(|word| line.find(word).map(|at| at..at + word.len())).unwrap_or(whole);
    let chars = |bytes: usize| line[..bytes].chars().count();
    let mark = chars(range.start)..chars(range.end);
    let fits = mark.end <= LONGEST_EXCERPT;
    Diagnostic {
        severity: Severity::Error,
        code,
        file: place.file.clone(),
        range: start + range.start..start + range.end,
        line: before + 1,
        column: mark.start + 1,
        message,
        expected: None,
        help: None,
        excerpt: line.chars().take(LONGEST_EXCERPT).collect(),
        mark: if fits { mark } else { 0..0 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Urgency;
    use crate::notify::WebhookChannel;

    fn channel(name: &str, takes: &[Urgency]) -> ChannelSettings {
        let webhook = WebhookChannel {
            url: "http://127.0.0.1:1/".to_owned(),
            takes: takes.to_vec(),
            token_file: None,
            ca_file: None,
            proxy: None,
        };
        ChannelSettings { name: name.to_owned(), webhook: Some(webhook), ..ChannelSettings::default() }
    }

    fn judge(text: &str, channels: &[ChannelSettings]) -> Vec<Diagnostic> {
        let files = [SourceFile { path: "a.yaml".to_owned(), bytes: text.as_bytes().to_vec() }];
        let policies = policy::load(&files, true).expect("right").policies;
        problems(&files, &policies, channels)
    }

    const ACTING: &str = "policies:\n- {name: shop, owner: oncall, mode: enforce, paging: in_front, targets: [shop/web],\n   matchers: ['a = \"b\"'],\n   decide: [{rollback: undo}]}\n";

    #[test]
    fn every_named_channel_must_exist() {
        let known = [channel("on-call", &[Urgency::Page])];
        let found = judge(ACTING, &known);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].code, found[0].line, found[0].column), ("unknown-channel", 2, 23));
        assert!(found[0].help.as_ref().is_some_and(|help| help.contains("did you mean `on-call`")), "{found:?}");
        assert_eq!(judge(ACTING, &[channel("oncall", &[Urgency::Page])]), []);
    }

    #[test]
    fn who_acts_must_be_able_to_page() {
        let deaf = [channel("oncall", &[Urgency::Announce])];
        let found = judge(ACTING, &deaf);
        assert_eq!(found.iter().map(|found| found.code).collect::<Vec<_>>(), ["no-page-channel"]);
        assert_eq!(judge(&ACTING.replace("enforce", "shadow"), &deaf), [], "shadow needs nobody");
    }
}
