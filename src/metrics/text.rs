//! The exposition as bytes: OpenMetrics 1.0, which `prometheus-client` writes, and the older text format 0.0.4 made
//! from it.

/// Whether an `Accept-Encoding` header asks for gzip.
pub fn accepts_gzip(accept_encoding: &str) -> bool {
    accept_encoding.split(',').any(|part| {
        let mut fields = part.split(';').map(str::trim);
        fields.next() == Some("gzip") && !fields.any(|field| field == "q=0" || field == "q=0.0")
    })
}

/// The formats Prometheus asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' own text format, version 0.0.4.
    Text,
}

impl Format {
    /// The format to answer an `Accept` header with: OpenMetrics only to those who ask for it.
    pub fn accepted(accept: &str) -> Format {
        let wants = |part: &str| {
            let mut fields = part.split(';').map(str::trim);
            let is_open_metrics = fields.next() == Some("application/openmetrics-text");
            is_open_metrics && !fields.any(|field| field == "q=0" || field.starts_with("version=0."))
        };
        if accept.split(',').any(wants) { Format::OpenMetrics } else { Format::Text }
    }

    /// The `Content-Type` of the answer.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// In 0.0.4 a counter's family is named like its series, with `_total`; what is `unknown` there is `untyped` here;
/// there is no unit and no end mark.
pub(super) fn to_text(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut help = "";
    for line in open_metrics.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("EOF" | "UNIT"), ..) => {}
            // The help comes before the type, which says how it must be written.
            (Some("#"), Some("HELP"), ..) => help = line,
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                let name = if kind == "counter" { format!("{name}_total") } else { name.to_owned() };
                let kind = if kind == "unknown" { "untyped" } else { kind };
                let sentence = help.splitn(4, ' ').nth(3).unwrap_or("");
                text.push_str(&format!("# HELP {name} {sentence}\n# TYPE {name} {kind}\n"));
            }
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::encoding::text::encode;
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::family::Family;
    use prometheus_client::registry::Registry;

    #[test]
    fn the_accept_headers_of_prometheus() {
        for (accept, format) in [
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1",
                Format::OpenMetrics,
            ),
            ("application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", Format::Text),
            ("text/plain;version=0.0.4", Format::Text),
            ("*/*", Format::Text),
            ("", Format::Text),
        ] {
            assert_eq!(Format::accepted(accept), format, "{accept}");
        }
    }

    #[test]
    fn gzip_only_when_asked_for() {
        for (header, gzip) in
            [("gzip", true), ("deflate, gzip;q=0.5", true), ("gzip;q=0", false), ("", false), ("identity", false)]
        {
            assert_eq!(accepts_gzip(header), gzip, "{header}");
        }
    }

    #[test]
    fn counters_and_hostile_labels_in_both_formats() {
        let mut registry = Registry::default();
        let family = Family::<Vec<(String, String)>, Counter>::default();
        family.get_or_create(&vec![("mountpoint".to_owned(), "/a\"b\\c\nd é".to_owned())]).inc();
        registry.register("requests", "Requests", family);
        let series = "requests_total{mountpoint=\"/a\\\"b\\\\c\\nd é\"} 1\n";
        let mut open = String::new();
        encode(&mut open, &registry).expect("encodes");
        assert_eq!(open, format!("# HELP requests Requests.\n# TYPE requests counter\n{series}# EOF\n"));
        assert_eq!(to_text(&open), format!("# HELP requests_total Requests.\n# TYPE requests_total counter\n{series}"));
    }
}
