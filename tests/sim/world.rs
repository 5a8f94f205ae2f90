//! Worlds by chance: who runs what, what goes wrong, who does what. Written as stories, so that one that shows a defect can be made
//! small and kept in `tests/scenarios/` as it is.

use super::dice::Dice;
use super::rules::{self, Mode, Rules};
use super::themes;

/// From this minute on nothing goes wrong any more.
pub(crate) const CALM: u64 = 45;
/// It ends at this minute.
pub(crate) const END: u64 = 110;

/// A workload.
pub(crate) struct Shop {
    /// `namespace/name`.
    pub(crate) at: String,
    name: String,
    pub(crate) query: String,
    pub(crate) errors: String,
    pub(crate) slow: String,
    pub(crate) labels: String,
}

/// A world.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) rules: Vec<Rules>,
    /// Those of the set `v2`, where there is one.
    pub(crate) later: Vec<Rules>,
    policies: String,
    /// What can be left out.
    pub(crate) lines: Vec<String>,
    /// What ends it.
    calm: Vec<String>,
    /// Targets that somebody else would put back.
    pub(crate) owned: Vec<String>,
}

impl World {
    /// The world of a seed: every other one is about a promise, the rest are by pure chance.
    pub(crate) fn draw(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        match themes::of(seed) {
            Some((_, theme)) => Self::about(&mut dice, theme),
            None => Self::by_chance(&mut dice),
        }
    }

    /// Three workloads under one policy that lets everything pass; what it is about says the rest.
    fn about(dice: &mut Dice, theme: themes::Theme) -> Self {
        let mut drawing = Drawing::default();
        let mut rules = Rules::lax(dice, "shop");
        let shops = ["a", "b", "c"].map(|name| Shop::new("shop", name));
        drawing.begin(dice, "-150m");
        theme(&mut themes::Stage { dice, rules: &mut rules, drawing: &mut drawing, shops: &shops });
        if dice.one_in(3) {
            match dice.number(0, 2) {
                0 => drawing.fault(dice, &shops[..1]),
                1 => drawing.person(dice, &shops[..1]),
                _ => drawing.hook(dice, &shops[..1]),
            }
        }
        drawing.calm(&shops);
        let shadow_beside = dice.one_in(6);
        Self::made(vec![rules], shadow_beside, drawing)
    }

    fn by_chance(dice: &mut Dice) -> Self {
        let mut drawing = Drawing::default();
        let mut rules = vec![Rules::draw(dice, "shop")];
        if dice.one_in(3) {
            rules.push(Rules::draw(dice, "bank"));
        }
        let mut shops = Vec::new();
        for (namespace, names) in [("shop", ["a", "b", "c"]), ("bank", ["d", "e", "f"])] {
            if rules.iter().any(|rules| rules.namespace == namespace) {
                let many = usize::try_from(dice.weighed(&[(3, 1_u64), (3, 2), (2, 3)])).unwrap_or(1);
                shops.extend(names.iter().take(many).map(|name| Shop::new(namespace, name)));
            }
        }
        let since = dice.weighed(&[(12, "-150m"), (1, "-25m"), (1, "-2m")]);
        drawing.begin(dice, since);
        let together = dice.one_in(4).then(|| dice.number(0, 300));
        for shop in &shops {
            let t = match together {
                Some(t) => t + dice.number(0, 20),
                None => dice.number(0, 600),
            };
            drawing.episode(dice, shop, t);
        }
        if dice.one_in(6) {
            drawing.lines.push("on verified +5s mark wrong".to_owned());
        }
        for _ in 0..dice.weighed(&[(2, 0_u64), (3, 1), (3, 2), (2, 4)]) {
            drawing.fault(dice, &shops);
        }
        for _ in 0..dice.weighed(&[(3, 0_u64), (3, 1), (2, 2), (1, 4)]) {
            drawing.person(dice, &shops);
        }
        for _ in 0..dice.weighed(&[(3, 0_u64), (3, 1), (2, 2)]) {
            drawing.hook(dice, &shops);
        }
        if rules.iter().any(|rules| rules.mode == Mode::Approve) && !dice.one_in(4) {
            let delay = dice.number(1, 200);
            drawing.lines.push(format!("each approval +{delay}s approve by=bob"));
        }
        drawing.calm(&shops);
        let shadow_beside = dice.one_in(4);
        Self::made(rules, shadow_beside, drawing)
    }

    fn made(rules: Vec<Rules>, shadow_beside: bool, drawing: Drawing) -> Self {
        let Drawing { lines, calm, owned, later } = drawing;
        let mut policies = rules::block("", &rules, shadow_beside);
        if !later.is_empty() {
            policies.push_str(&rules::block(" v2", &later, shadow_beside));
        }
        Self { rules, later, policies, lines, calm, owned }
    }

    /// The story.
    pub(crate) fn story(&self) -> String {
        let lines = self.lines.iter().chain(&self.calm);
        let lines: String = lines.map(|line| format!("{line}\n")).collect();
        format!("{}{lines}until {END}m\n", self.policies)
    }
}

impl Shop {
    fn new(namespace: &str, name: &str) -> Self {
        let upper = name.to_uppercase();
        Self {
            at: format!("{namespace}/{name}"),
            name: name.to_owned(),
            query: format!("'errors{{app=\"{name}\"}}'"),
            errors: format!("Errors{upper}"),
            slow: format!("Slow{upper}"),
            labels: format!("namespace={namespace} deployment={name}"),
        }
    }

    pub(crate) fn image(&self, number: u64) -> String {
        format!("image={}:{number}", self.name)
    }
}

/// A world in the making.
#[derive(Default)]
pub(crate) struct Drawing {
    pub(crate) lines: Vec<String>,
    calm: Vec<String>,
    pub(crate) owned: Vec<String>,
    /// The policies of the set `v2`.
    pub(crate) later: Vec<Rules>,
}

impl Drawing {
    pub(crate) fn line(&mut self, text: String) {
        self.lines.push(text);
    }

    fn begin(&mut self, dice: &mut Dice, since: &str) {
        if dice.one_in(3) {
            self.line("peers 2".to_owned());
        }
        self.line("channel pager".to_owned());
        self.line("channel tracker".to_owned());
        self.line(format!("service {since}"));
    }

    /// What becomes of one workload: `n:1` and `n:4` are good releases, `n:2` and `n:3` make errors.
    fn episode(&mut self, dice: &mut Dice, shop: &Shop, t: u64) {
        let Shop { at, name, slow, labels, .. } = shop;
        let owner = if dice.one_in(14) {
            self.owned.push(at.clone());
            let argo = format!(" argocd.argoproj.io/tracking-id=app:apps/Deployment:{at}");
            dice.of(&[" meta.helm.sh/release-name=x", argo.as_str()]).to_owned()
        } else {
            String::new()
        };
        let recreate = if dice.one_in(20) { " recreate" } else { "" };
        let config = if dice.one_in(8) { " config=settings" } else { "" };
        let born = dice.weighed(&[(14, "-3h"), (1, "-20m"), (1, "-45m")]);
        let severity = dice.of(&["critical", "warning"]);
        self.stands(shop, born, &format!("{recreate}{config}{owner}"), severity);
        let (onset, over) = (dice.of(&["2m", "2m", "1m", "15m", "unknown"]), t + dice.number(60, 1500));
        let slow = format!("alert {slow} {labels} severity={severity} onset={onset} tail=1m");
        match dice.weighed(&[(9, 0), (2, 1), (1, 2), (3, 3), (2, 4), (2, 5), (2, 6), (1, 7), (2, 8), (2, 9), (1, 10)]) {
            // A bad release, as every day.
            0 => self.deploy(t, shop, 2),
            // Trouble without a change, or with a good one some time ago.
            1 => self.trouble(dice, shop, t, over, &slow),
            // Trouble began, then somebody deployed.
            2 => {
                self.deploy(t, shop, 4);
                self.line(format!("at {}s alert {} {labels} severity={severity} onset=20m tail=1m", t + 120, shop.slow));
                self.resolve(over + 120, &shop.slow);
            }
            // One bad release after the other.
            3 => {
                self.deploy(t, shop, 2);
                self.deploy(t + dice.number(60, 1800), shop, 3);
            }
            // A second alert joins.
            4 => {
                self.deploy(t, shop, 2);
                self.line(format!("at {}s {slow}", t + dice.number(60, 400)));
                self.resolve(over, &shop.slow);
            }
            // It flaps, and then a bad release comes.
            5 => {
                for turn in 0..dice.number(1, 2) {
                    let since = turn * 900;
                    self.line(format!("at {since}s {slow}"));
                    self.resolve(since + dice.of(&[&10, &60, &120, &800]), &shop.slow);
                }
                self.deploy(dice.number(1700, 2000), shop, 2);
            }
            // Bad ones that a good one lies between.
            6 => {
                self.deploy(t, shop, 2);
                self.deploy(t + 700, shop, 4);
                self.deploy(t + 700 + dice.number(400, 1200), shop, 3);
            }
            // Pods that never become ready.
            7 => {
                self.line(format!("break {name}:2"));
                self.deploy(t, shop, 2);
                self.line(format!("at {}s {slow}", t + 60));
                self.resolve(over + 60, &shop.slow);
            }
            // Somebody puts the bad one there once more, and then another one.
            8 => {
                self.deploy(t, shop, 2);
                let again = t + dice.number(400, 700);
                self.line(format!("at {again}s deploy {at} {} by=ann", shop.image(2)));
                self.deploy(again + dice.number(400, 1000), shop, 3);
            }
            // What was put back is not well either.
            9 => {
                self.line(format!("at -80m deploy {at} {}", shop.image(4)));
                self.deploy(t, shop, 2);
                self.line(format!("at {}s {}", t + 900, slow.replace("onset=15m", "onset=1m")));
                self.resolve(t + 1600, &shop.slow);
            }
            // The object is made anew, and then a bad release comes.
            _ => {
                self.deploy(t, shop, 2);
                let again = t + dice.number(60, 240);
                let image = shop.image(1);
                if dice.one_in(2) {
                    self.line(format!("at {}s down watch", again - 5));
                    self.line(format!("at {}s up watch", again + 100));
                }
                self.line(format!("at {again}s delete {at}"));
                self.line(format!("at {again}s deployment {at} {image}"));
                self.deploy(again + 15, shop, 2);
            }
        }
    }

    /// A workload, what it does by its release, and the rule that looks at it.
    pub(crate) fn stands(&mut self, shop: &Shop, born: &str, more: &str, severity: &str) {
        let Shop { at, name, query, errors, labels, .. } = shop;
        self.line(format!("at {born} deployment {at} {}{more}", shop.image(1)));
        self.line(format!("series {query} of {at} {name}:1=0.001 {name}:2=0.6 {name}:3=0.6 {name}:4=0.001 over=1m"));
        self.line(format!("at -10m rule {errors} {query} above=0.1 for=1m {labels} severity={severity}"));
    }

    fn trouble(&mut self, dice: &mut Dice, shop: &Shop, t: u64, over: u64, slow: &str) {
        if dice.one_in(2) {
            let ago = dice.number(12, 90);
            self.line(format!("at -{ago}m deploy {} {}", shop.at, shop.image(4)));
        }
        self.line(format!("at {t}s {slow}"));
        self.line(format!("at {t}s value {} 0.6", shop.query));
        self.resolve(over, &shop.slow);
    }

    pub(crate) fn deploy(&mut self, at: u64, shop: &Shop, number: u64) {
        self.line(format!("at {at}s deploy {} {}", shop.at, shop.image(number)));
    }

    pub(crate) fn resolve(&mut self, at: u64, alert: &str) {
        self.line(format!("at {at}s resolve {alert}"));
    }

    /// Something is down, and up again.
    fn spell(&mut self, dice: &mut Dice, (begin, end): (&str, &str)) {
        let from = dice.number(30, 1800);
        let span = dice.weighed(&[(2, 8_u64), (3, 40), (3, 200), (2, 700)]);
        let to = from + dice.number(span / 2, span);
        self.line(format!("at {from}s {begin}"));
        self.line(format!("at {to}s {end}"));
    }

    fn fault(&mut self, dice: &mut Dice, shops: &[Shop]) {
        let shop = &shops[usize::try_from(dice.number(0, shops.len() as u64 - 1)).unwrap_or(0)];
        let query = &shop.query;
        let at = dice.number(30, 2000);
        match dice.number(0, 38) {
            0 | 1 => self.spell(dice, ("down cluster", "up cluster")),
            2 | 3 => self.spell(dice, ("down watch", "up watch")),
            4 => self.spell(dice, ("down prometheus", "up prometheus")),
            5 => self.spell(dice, ("down evaluation", "up evaluation")),
            6 => self.spell(dice, ("down alertmanager", "up alertmanager")),
            7 => self.spell(dice, ("down alertmanager:0", "up alertmanager:0")),
            8 => self.spell(dice, ("peer-freeze peer=1", "peer-thaw peer=1")),
            9 => self.line(format!("at {at}s peer-restart peer=1")),
            10 | 11 => self.spell(dice, ("down channel:pager", "up channel:pager")),
            12 | 13 => self.spell(dice, ("down channel", "up channel")),
            14 => self.spell(dice, ("forbid", "permit")),
            15 => self.spell(dice, ("refuse-dry-runs 'a webhook'", "accept-dry-runs")),
            16 => self.spell(dice, ("quota 'no quota left'", "quota")),
            17 => self.line(dice.of(&["doubt lost", "doubt applied", "doubt late=20s", "doubt late=80s"]).to_owned()),
            18 | 19 => self.spell(dice, ("store full", "store ok")),
            20 => {
                let by = dice.of(&["1h", "-1h", "10m", "-10m", "40s"]);
                let back = by.strip_prefix('-').map_or_else(|| format!("-{by}"), str::to_owned);
                self.line(format!("at {at}s clock leaps {by}"));
                self.line(format!("at {}s clock leaps {back}", at + dice.number(60, 600)));
            }
            21 | 22 => self.spell(dice, ("crash", "start")),
            23 => self.line(format!("at {at}s restart")),
            24 => {
                let what = dice.of(&["located", "observed", "prepared", "applied", "told"]);
                let how = dice.of(&["lost", "late=15s", "late=150s"]);
                self.line(format!("at {at}s answer {how} of={what}"));
            }
            25 => self
                .spell(dice, ("latency read=20s write=20s tell=20s watch=20s", "latency read=100ms write=1s tell=200ms watch=0")),
            26 => self.spell(dice, ("lag 10m", "lag 0")),
            27 => self.spell(dice, (&format!("value {query} nan"), &format!("value {query} 0.6"))),
            28 => self.spell(dice, (&format!("value {query} none"), &format!("value {query} 0.6"))),
            30 => self.line(format!("on executing +400ms scale {} replicas={} by=hpa", shop.at, dice.number(3, 5))),
            31 => {
                self.line("on redeciding +50ms store full".to_owned());
                self.line(format!("at {}s store ok", at + 300));
            }
            32..=34 => {
                let from = dice.number(30, 600);
                self.line(format!("at {from}s crash"));
                self.line(format!("at {}s start", from + dice.number(330, 480)));
            }
            35 => {
                let from = dice.number(200, 900);
                self.line(format!("at {from}s down alertmanager"));
                self.line(format!("at {}s up alertmanager", from + 1200));
            }
            36 => self.line("on verifying +50ms down prometheus".to_owned()),
            29 => self.spell(dice, (&format!("value {query} 0.01"), &format!("value {query} 0.6"))),
            _ => {
                let cut = format!("post firing {} {} severity=critical truncated=3", shop.slow, shop.labels);
                self.line(format!("at {at}s {cut}"));
                let other = format!("alert {} {} severity=critical cluster=other onset=2m", shop.slow, shop.labels);
                self.line(format!("at {}s {other}", at + 5));
            }
        }
    }

    fn person(&mut self, dice: &mut Dice, shops: &[Shop]) {
        let shop = &shops[usize::try_from(dice.number(0, shops.len() as u64 - 1)).unwrap_or(0)];
        let (target, at) = (&shop.at, dice.number(30, 2000));
        let namespace = target.split('/').next().unwrap_or_default();
        match dice.number(0, 15) {
            0 => self.line(format!("at {at}s deploy {target} {} by=ann", shop.image(1))),
            1 => self.line(format!("at {at}s deploy {target} {} by=ann", shop.image(4))),
            2 => self.line(format!("at {at}s scale {target} replicas={} by=ann", dice.number(1, 4))),
            3 => self.spell(dice, (&format!("hold {target} by=ann"), &format!("let-go {target} by=ann"))),
            4 => self.line(format!("at {at}s annotate {target} backout.dev/pause=looking")),
            5 => self.line(format!("at {at}s pause-namespace {namespace} reason=looking")),
            6 | 7 => {
                let scope = dice.of(&["global", "namespace/shop", "target/shop/a", "policy/p-shop"]);
                self.line(format!("at {at}s pause {scope} for={}m", dice.number(2, 20)));
                if dice.one_in(2) {
                    self.line(format!("at {}s resume pause=1", at + dice.number(30, 600)));
                }
            }
            8 => self.line(format!("at {at}s veto reason=no")),
            9 => self.line(format!("at {at}s ack")),
            10 => self.line(format!("at {at}s approve plan=0123456789abcdef")),
            11 => self.line(format!("at {at}s approve overrides={}", dice.of(&["cooldown", "storm", "budget,cooldown"]))),
            12 => self.line(format!("at {at}s mark #1 wrong")),
            13 | 14 => {
                let what = dice.of(&[shop.errors.as_str(), shop.slow.as_str()]);
                self.spell(dice, (&format!("silence alertname={what}"), "unsilence"));
            }
            _ => self.line(format!("at {at}s changed {target} by=ci to=schema-2{}", dice.of(&["", " barrier"]))),
        }
    }

    /// Something just then.
    fn hook(&mut self, dice: &mut Dice, shops: &[Shop]) {
        let shop = &shops[usize::try_from(dice.number(0, shops.len() as u64 - 1)).unwrap_or(0)];
        let phase = dice.weighed(&[
            (1, "settling"),
            (1, "deciding"),
            (4, "countdown"),
            (3, "approval"),
            (1, "preparing"),
            (3, "redeciding"),
            (3, "executing"),
            (2, "verifying"),
        ]);
        let delay = dice.weighed(&[(3, "+50ms"), (2, "+400ms"), (2, "+1050ms"), (2, "+5s"), (1, "+20s")]);
        let target = &shop.at;
        let what = match dice.number(0, 21) {
            0..=2 => format!("kill before start={}s", dice.number(1, 30)),
            3..=5 => format!("kill after start={}s nth={}", dice.number(1, 30), dice.number(1, 4)),
            6..=8 => format!("kill flying start={}s nth={}", dice.number(1, 30), dice.number(1, 3)),
            9 => "crash lands".to_owned(),
            10 => "veto reason=no".to_owned(),
            11 => "ack".to_owned(),
            12 => "approve plan=0123456789abcdef".to_owned(),
            13 => "pause global for=5m".to_owned(),
            14 => format!("deploy {target} {} by=argocd", shop.image(dice.number(1, 4))),
            15 => format!("scale {target} replicas=3 by=hpa"),
            16 => "store full".to_owned(),
            17 => format!("silence alertname={}", shop.errors),
            18 => format!("value {} 0.001", shop.query),
            19 => dice.of(&["doubt lost", "doubt applied", "doubt late=30s"]).to_owned(),
            20 => dice.of(&["answer lost of=applied", "answer late=150s of=applied", "answer lost of=observed"]).to_owned(),
            _ => dice.of(&["down channel", "down prometheus", "down cluster"]).to_owned(),
        };
        self.line(format!("on {phase} {delay} {what}"));
    }

    /// Everything is well again, and everybody goes home.
    fn calm(&mut self, shops: &[Shop]) {
        let parts = ["cluster", "watch", "prometheus", "evaluation", "alertmanager", "channel"];
        let mut say = |text: &str| self.calm.push(format!("at {CALM}m {text}"));
        say("store ok");
        say("start");
        parts.iter().for_each(|part| say(&format!("up {part}")));
        for text in ["permit", "accept-dry-runs", "quota", "peer-thaw peer=1", "lag 0", "unsilence"] {
            say(text);
        }
        say("latency read=100ms prepare=1s write=1s tell=200ms watch=0");
        for shop in shops {
            say(&format!("let-go {} by=ann", shop.at));
            say(&format!("value {} 0.001", shop.query));
            say(&format!("resolve {}", shop.slow));
        }
        // A kill that waited for a commit may come now.
        self.calm.push(format!("at {}m start", CALM + 2));
    }
}
