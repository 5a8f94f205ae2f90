//! What the watch tells of a release that comes up, fails and is put back.

use std::time::Duration;

use backout::model::{Applied, WatchEvent, Workload};
use backout::ports::Cluster;
use serde_json::json;
use tokio::sync::mpsc::Receiver;

use crate::bed::{Setup, Shop, plan, runs, within};

/// The next event that is as wished, and those before it.
async fn until(news: &mut Receiver<WatchEvent>, wish: impl Fn(&WatchEvent) -> bool) -> (WatchEvent, Vec<WatchEvent>) {
    let mut before = Vec::new();
    let next = async {
        loop {
            let event = news.recv().await.expect("the watch runs");
            if wish(&event) {
                return event;
            }
            before.push(event);
        }
    };
    let event = tokio::time::timeout(Duration::from_secs(30), next).await;
    (event.expect("the watch tells of it"), before)
}

#[tokio::test]
async fn good_bad_and_back_again() {
    let mut shop = Shop::open("watch").await;
    shop.create("web:1", json!({}), json!({})).await;
    let good = shop.see_when(Workload::complete).await;
    assert_eq!(shop.cluster.watch_heard_at(), None);
    let mut news = shop.watch();
    shop.cluster.watch().synced().await;
    let heard = shop.cluster.watch_heard_at().expect("heard the lists");

    let (first, before) = until(&mut news, |_| true).await;
    assert!(before.is_empty() && first.relearned && first.available && !first.by_us && !first.gone);
    assert_eq!((first.landed_at, &first.release), (good.landed_at, &good.release));
    assert_eq!(Some(first.first_write), good.current().map(|set| set.created_at));

    shop.release("web:bad").await;
    let (bad, _) = until(&mut news, |event| event.images == ["web:bad"] && event.replica_set.is_some()).await;
    assert!(!bad.available && !bad.relearned && bad.by.as_deref() == Some("kubectl"));
    let seen = shop.see_when(|seen| runs(seen, "web:bad")).await;
    assert_eq!(Some(bad.first_write), seen.current().map(|set| set.created_at));

    let (plan, guard) = plan(&seen, "web:1");
    assert!(matches!(shop.apply(&plan, &guard).await, Applied::Done { .. }));
    let (back, _) = until(&mut news, |event| event.images == ["web:1"]).await;
    assert!(back.by_us && !back.relearned, "{back:?}");
    let (back, _) = until(&mut news, |event| event.images == ["web:1"] && event.available).await;
    assert_eq!(back.replica_set, first.replica_set);
    assert!(shop.cluster.watch_heard_at() > Some(heard));

    shop.delete(&shop.apps("deployments/web")).await;
    let (last, _) = until(&mut news, |event| event.gone).await;
    assert_eq!(last.target, good.id);
    let status = shop.cluster.watch().status();
    assert!(status.synced && status.problems.is_empty(), "{status:?}");
}

#[tokio::test]
async fn an_undo_to_an_older_release_is_a_new_write() {
    let mut shop = Shop::open("older").await;
    let seen = shop.good_then_bad().await;
    let mut news = shop.watch();
    shop.cluster.watch().synced().await;
    let (plan, guard) = plan(&seen, "web:1");
    assert!(matches!(shop.apply(&plan, &guard).await, Applied::Done { .. }));
    let (back, _) = until(&mut news, |event| event.images == ["web:1"] && event.available).await;
    assert!(back.by_us && !back.relearned);
}

#[tokio::test]
async fn a_refusal_is_told_and_not_spun_on() {
    let mut shop = Shop::open_with("unwatched", Setup { without_role: true, ..Setup::default() }).await;
    let _news = shop.watch();
    within(Duration::from_secs(10), async || shop.cluster.watch().status().problems.len() == 2).await;
    let status = shop.cluster.watch().status();
    assert!(!status.synced && status.heard_at.is_none());
    assert!(status.problems.iter().all(|problem| problem.contains("403")), "{status:?}");
}
