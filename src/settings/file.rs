//! The settings file as it is written. Plain data, unchecked; unknown keys are refused by the reader.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use crate::notify::ChannelSettings;
use crate::outgoing::EndpointSettings;
use crate::telemetry::LogFormat;

use super::timing::Timing;

#[derive(Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct File {
    pub(super) rules: Option<PathBuf>,
    pub(super) data: Option<PathBuf>,
    pub(super) cluster: Cluster,
    pub(super) prometheus: Vec<Endpoint>,
    pub(super) alertmanager: Vec<Endpoint>,
    pub(super) watchdog: Option<Vec<String>>,
    pub(super) channels: Option<Vec<ChannelSettings>>,
    pub(super) http: Http,
    pub(super) tokens: Tokens,
    pub(super) tls: Tls,
    pub(super) clients: Clients,
    pub(super) retention: Retention,
    pub(super) log: Log,
    pub(super) timing: Timing,
    pub(super) otlp: Option<Endpoint>,
    pub(super) external_url: Option<String>,
    pub(super) silence_url: Option<String>,
    pub(super) shutdown_grace: Option<Scalar>,
    pub(super) drills: Drills,
}

#[derive(Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Cluster {
    pub(super) name: Option<String>,
    pub(super) kubeconfig: Option<PathBuf>,
    pub(super) namespaces: Vec<String>,
}

#[derive(Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Http {
    pub(super) listen: Option<String>,
    pub(super) body_limit: Option<Scalar>,
    pub(super) bytes_in_flight: Option<Scalar>,
    pub(super) connections: Option<Scalar>,
    pub(super) inbox: Option<Scalar>,
}

#[derive(Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Tokens {
    pub(super) ingest: Vec<PathBuf>,
    pub(super) read: Vec<PathBuf>,
    pub(super) operate: Vec<PathBuf>,
    pub(super) changes: Vec<PathBuf>,
}

#[derive(Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Tls {
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) client_ca: Option<PathBuf>,
    pub(super) client_certificates: Option<ClientCertificates>,
}

/// Whether who has no client certificate is turned away at the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ClientCertificates {
    Optional,
    Required,
}

#[derive(Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Clients {
    pub(super) ingest: Vec<String>,
    pub(super) read: Vec<String>,
    pub(super) operate: Vec<String>,
    pub(super) changes: Vec<String>,
}

#[derive(Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Retention {
    pub(super) age: Option<Scalar>,
    pub(super) size: Option<Scalar>,
}

#[derive(Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Log {
    pub(super) format: Option<LogFormat>,
}

#[derive(Debug, Default, serde::Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Drills {
    pub(super) every: Option<Scalar>,
}

/// A number or a text, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scalar(pub(super) String);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        struct Reader;

        impl Visitor<'_> for Reader {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or a text with a unit")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar(text.to_owned()))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Scalar, E> {
                Ok(Scalar(number.to_string()))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Scalar, E> {
                Ok(Scalar(number.to_string()))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Scalar, E> {
                Ok(Scalar(number.to_string()))
            }
        }

        value.deserialize_any(Reader)
    }
}

impl JsonSchema for Scalar {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "scalar".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["string", "number"]})
    }
}

/// An address, or an address with credentials from files.
#[derive(Debug)]
pub(super) struct Endpoint(pub(super) EndpointSettings);

impl<'de> Deserialize<'de> for Endpoint {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Written {
            url: String,
            #[serde(default)]
            token_file: Option<PathBuf>,
            #[serde(default)]
            username: Option<String>,
            #[serde(default)]
            password_file: Option<PathBuf>,
            #[serde(default)]
            ca_file: Option<PathBuf>,
            #[serde(default)]
            proxy: Option<String>,
        }

        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Endpoint;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address, or an object with `url` and the files of its credentials")
            }

            fn visit_str<E: Error>(self, url: &str) -> Result<Endpoint, E> {
                Ok(Endpoint(EndpointSettings::plain(url)))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Endpoint, A::Error> {
                let Written { url, token_file, username, password_file, ca_file, proxy } =
                    serde::Deserialize::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Endpoint(EndpointSettings { url, token_file, username, password_file, ca_file, proxy }))
            }
        }

        value.deserialize_any(Reader)
    }
}

impl JsonSchema for Endpoint {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "address".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [{"type": "string"}, {
            "type": "object",
            "additionalProperties": false,
            "required": ["url"],
            "properties": {
                "url": {"type": "string"},
                "token_file": {"type": "string"},
                "username": {"type": "string"},
                "password_file": {"type": "string"},
                "ca_file": {"type": "string"},
                "proxy": {"type": "string"},
            },
        }]})
    }
}
