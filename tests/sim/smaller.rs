//! Makes a story that breaks a promise small: leaves lines out for as long as it still does.

use crate::run::{self, Ink};
use crate::world::World;

/// The smallest story found that still breaks it, with its transcript.
pub(crate) fn story(world: &World, check: &str) -> String {
    let mut small = world.clone();
    let mut size = small.lines.len().div_ceil(2).max(1);
    loop {
        let mut begin = 0;
        let mut left_out = false;
        while begin < small.lines.len() {
            let end = (begin + size).min(small.lines.len());
            let mut less = small.clone();
            // Without a channel everything is stuck, for that reason and no other.
            less.lines = small
                .lines
                .iter()
                .enumerate()
                .filter(|(index, line)| !(begin..end).contains(index) || line.starts_with("channel "))
                .map(|(_, line)| line.clone())
                .collect();
            if less.lines.len() < small.lines.len() && breaks(&less, check) {
                small = less;
                left_out = true;
            } else {
                begin = end;
            }
        }
        if size == 1 && !left_out {
            break;
        }
        if !left_out {
            size = size.div_ceil(2).max(1);
        }
    }
    let told = match run::violations(&small, Ink::Transcript) {
        Ok((found, driver)) => {
            let words: Vec<String> =
                found.iter().map(|violation| format!("# {}: {}\n", violation.check, violation.text)).collect();
            format!("{}\n==== transcript\n{}", words.concat(), driver.transcript.text())
        }
        Err(why) => format!("# {why}\n"),
    };
    format!("{}{told}", small.story())
}

fn breaks(world: &World, check: &str) -> bool {
    match run::violations(world, Ink::None) {
        Ok((found, _)) => found.iter().any(|violation| violation.check == check),
        Err(_) => check == "story",
    }
}
