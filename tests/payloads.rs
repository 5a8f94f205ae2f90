//! What every sender posts, and how it is read: bodies in `tests/payloads/`, golden readings in `tests/payloads/read/`.

use std::fs;
use std::path::PathBuf;

use backout::journal::census::{Census, Tally, census};
use backout::journal::receipt::{Receipt, ReceiptError, read};
use backout::journal::wire::Unparseable;
use backout::model::{AlertStatus, Fingerprint, Source, Time};

fn payload(name: &str) -> Vec<u8> {
    let file: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", "payloads", name].iter().collect();
    fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn received_at() -> Time {
    Time::parse("2026-03-01T12:00:00Z").expect("a time")
}

#[test]
fn every_sender_is_read_as_the_golden_reading_says() {
    for name in [
        "alertmanager-0.20",
        "alertmanager-0.25-live",
        "alertmanager-0.25-mixed",
        "alertmanager-0.25-truncated",
        "alertmanager-0.32",
        "alertmanager-0.34",
        "alike-coralogix",
        "by-hand",
        "grafana-11",
        "sender-2016",
        "spoiled",
    ] {
        let source = if name.starts_with("grafana") { Source::Grafana } else { Source::Alertmanager };
        let body = payload(&format!("{name}.json"));
        let row = Receipt::encode(source, &body);
        let notification = Receipt::decode(&row).expect("a receipt").read(received_at()).expect(name);
        insta::with_settings!({ snapshot_path => "payloads/read", prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_json_snapshot!(name, notification);
        });
    }
}

#[test]
fn the_live_fingerprint_is_what_we_compute() {
    let body = String::from_utf8(payload("alertmanager-0.25-live.json")).expect("text");
    let without = body.replace(",\"fingerprint\":\"2dd190e86fe0d645\"", "");
    assert_ne!(body, without);
    let notification = read(Source::Alertmanager, without.as_bytes(), received_at()).expect("read");
    assert_eq!(notification.alerts[0].fingerprint, Fingerprint(0x2dd1_90e8_6fe0_d645));
}

#[test]
fn a_census_counts_by_status_and_tells_own_pages_and_foreign_clusters() {
    let mixed = payload("alertmanager-0.25-mixed.json");
    let found = census(&mixed, Some("prod-1")).expect("counted");
    assert_eq!(found.ours, Tally { firing: 0, resolved: 1 });
    assert_eq!(found.foreign, Tally { firing: 1, resolved: 0 });
    assert_eq!(found.own_pages, Tally { firing: 1, resolved: 0 });
    let nameless = census(&mixed, None).expect("counted");
    assert_eq!((nameless.ours.total(), nameless.foreign.total()), (2, 0));

    let spoiled = census(&payload("spoiled.json"), None).expect("counted");
    assert_eq!((spoiled.ours.firing, spoiled.unreadable, spoiled.truncated), (1, 7, 2));

    let old = census(&payload("sender-2016.json"), None).expect("counted");
    assert_eq!(old.ours, Tally { firing: 0, resolved: 1 }, "without a status of its own, the envelope's counts");
    let status_last = br#"{"alerts":[{"labels":{"a":"b"}}],"status":"resolved"}"#;
    assert_eq!(census(status_last, None).expect("counted").ours.resolved, 1, "wherever it stands");
}

#[test]
fn census_and_reading_agree() {
    for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/payloads")).expect("the folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let body = fs::read(&path).expect("a payload");
        match (census(&body, None), read(Source::Alertmanager, &body, received_at())) {
            (Ok(counted), Ok(read)) => {
                let firing = read.alerts.iter().filter(|alert| alert.status == AlertStatus::Firing).count() as u64;
                assert_eq!(counted.ours.firing, firing, "{}", path.display());
                assert_eq!(counted.ours.total(), read.alerts.len() as u64);
                assert_eq!(counted.unreadable + counted.truncated, read.truncated, "{}", path.display());
            }
            (counted, read) => assert_eq!(counted.err(), read.err(), "{}", path.display()),
        }
    }
}

#[test]
fn only_what_can_never_be_parsed_is_refused() {
    let whole = payload("alertmanager-0.25-live.json");
    let mut latin = whole.clone();
    latin[20] = 0xE4;
    for (body, wanted) in [
        (payload("grafana-legacy.json"), Unparseable::LegacyGrafana),
        (latin, Unparseable::NotUtf8),
        (whole[..whole.len() / 2].to_vec(), Unparseable::NotJson),
        ([whole.as_slice(), b"{}"].concat(), Unparseable::NotJson),
        (b"".to_vec(), Unparseable::NotJson),
        (b"payload=%7B%7D".to_vec(), Unparseable::NotJson),
        (b"{}".to_vec(), Unparseable::NoAlerts),
        (b"[]".to_vec(), Unparseable::NoAlerts),
        (b"7".to_vec(), Unparseable::NoAlerts),
        (b"\"alerts\"".to_vec(), Unparseable::NoAlerts),
        (br#"{"alerts":null,"status":"firing"}"#.to_vec(), Unparseable::NoAlerts),
        (br#"{"alerts":{"labels":{}}}"#.to_vec(), Unparseable::NoAlerts),
        (br#"{"alerts":[{"labels":null},7]}"#.to_vec(), Unparseable::NothingReadable),
        (vec![b'['; 1 << 20], Unparseable::NotJson),
        ([br#"{"alerts":[{"labels":"#.as_slice(), &[b'['; 1 << 20]].concat(), Unparseable::NotJson),
    ] {
        let text = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        assert_eq!(census(&body, None), Err(wanted), "{text}");
    }
    assert_eq!(census(br#"{"alerts":[]}"#, None), Ok(Census::default()));
}

#[test]
fn a_row_that_is_no_receipt_is_refused() {
    let bomb = [b"\x02\x01".as_slice(), &u32::MAX.to_le_bytes(), &[0x1f; 40]].concat();
    let cut = Receipt::encode(Source::Alertmanager, &[b'a'; 1000]);
    for row in [b"".as_slice(), b"\x01", b"\x00\x01{}", b"\x01\x09{}", b"\x02\x01{}", &bomb, &cut[..cut.len() - 1]] {
        assert_eq!(Receipt::decode(row), Err(ReceiptError::Damaged), "{row:?}");
    }
    assert_eq!(Receipt::decode(b"\x03\x01{}"), Err(ReceiptError::Newer(3)));
}

#[test]
fn a_receipt_keeps_the_body_byte_for_byte() {
    let alike = b"{\"labels\":{\"namespace\":\"shop\"}},".repeat(1000);
    let noise: Vec<u8> = (0_u32..5000).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for body in [b"".as_slice(), b"{}", &alike[..511], &alike[..512], &alike, &noise] {
        for source in [Source::Alertmanager, Source::Grafana] {
            let row = Receipt::encode(source, body);
            assert_eq!(Receipt::decode(&row), Ok(Receipt { source, body: body.into() }));
            assert!(row.len() <= body.len() + 2, "{} bytes take {}", body.len(), row.len());
        }
    }
    assert!(Receipt::encode(Source::Alertmanager, &alike).len() < alike.len() / 20);
    // What the versions before wrote.
    assert_eq!(Receipt::decode(b"\x01\x02{}"), Ok(Receipt { source: Source::Grafana, body: b"{}".as_slice().into() }));
}

#[test]
fn a_damaged_body_is_read_or_refused_by_both_readers_alike() {
    for name in ["alertmanager-0.25-mixed", "grafana-11", "spoiled"] {
        let whole = payload(&format!("{name}.json"));
        for at in 0..whole.len() {
            for byte in [b'"', b'}', b'[', b'\\', b'0', 0, 0xC3] {
                let mut damaged = whole.clone();
                damaged[at] = byte;
                let read = read(Source::Grafana, &damaged, received_at()).map(|read| read.alerts.len() as u64);
                match census(&damaged, None) {
                    Ok(counted) => assert_eq!(read, Ok(counted.ours.total()), "{name} {at}"),
                    Err(Unparseable::NothingReadable) => assert_eq!(read, Ok(0), "{name} {at}"),
                    Err(refused) => assert_eq!(read, Err(refused), "{name} {at}"),
                }
            }
        }
    }
}

#[test]
fn nothing_is_acknowledged_that_the_reader_cannot_read() {
    // What a parser that only skips lets pass: half a surrogate pair, a number beyond every number.
    for value in
        [r#""\ud800""#, r#""\udc00\ud800""#, "1e999", "-1e999", "[1e999]", r#"{"a":"\ud800"}"#, "1.5", "-1", "null", "true"]
    {
        for place in ["fingerprint", "startsAt", "endsAt", "generatorURL", "annotations", "status", "labels", "other"] {
            for value in [value.to_owned(), format!(r#"{{"x":{value}}}"#)] {
                let body = format!(r#"{{"alerts":[{{"labels":{{"a":"b"}},"{place}":{value}}},{{"labels":{{"a":"c"}}}}]}}"#);
                let counted = census(body.as_bytes(), None).map(|counted| counted.ours.total());
                let read = read(Source::Alertmanager, body.as_bytes(), received_at()).map(|read| read.alerts.len() as u64);
                assert_eq!(counted, read, "{body}");
            }
        }
    }
}
