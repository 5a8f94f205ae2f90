//! Policies for measurements: a hundred, or ten thousand, that are about something or about nothing that is posted.

/// So many policies in shadow, in files of a thousand. With `wanted`, every alert that is posted has one that is about it.
pub(crate) fn policies(count: usize, wanted: bool) -> Vec<(String, String)> {
    let numbers: Vec<usize> = (0..count).collect();
    let files = numbers.chunks(1000).enumerate().map(|(file, numbers)| {
        let policies: String = numbers.iter().map(|number| policy(*number, wanted)).collect();
        (format!("{file:03}.yaml"), format!("policies:\n{policies}"))
    });
    files.collect()
}

fn policy(number: usize, wanted: bool) -> String {
    let namespace = if wanted { "team" } else { "nobody" };
    format!(
        "  - name: p{number}\n    matchers: ['namespace = \"{namespace}-{number}\"', 'severity =~ \"critical|warning\"', 'service =~ \"checkout-.+\"']\n    \
         decide: [{{name: else, fix_forward: {{}}}}]\n"
    )
}
