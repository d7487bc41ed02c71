//! What Prometheus sees. Tables turn an inventory into series; nothing here asks the machine anything.

pub mod autoscaler;
pub mod filesystem;
pub mod lvm;
pub mod text;

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

/// One row of a table: a metric and how its value is read off one item. An item without that value has no series.
pub struct Column<T> {
    /// The whole name.
    pub name: &'static str,
    /// A sentence that stands alone.
    pub help: &'static str,
    /// The value of one item.
    pub value: fn(&T) -> Option<f64>,
}

type Labels<'a> = Vec<(&'static str, &'a str)>;

/// Writes one gauge family: a series for each item that has the value.
fn gauges<'a, T: 'a>(
    encoder: &mut DescriptorEncoder<'_>,
    column: &Column<T>,
    items: impl Iterator<Item = (&'a T, Labels<'a>)>,
) -> fmt::Result {
    let mut series = items.filter_map(|(item, labels)| Some(((column.value)(item)?, labels))).peekable();
    // A family without series is left out: its name and help would only make the page longer.
    if series.peek().is_none() {
        return Ok(());
    }
    let mut family = encoder.encode_descriptor(column.name, column.help, None, MetricType::Gauge)?;
    series.try_for_each(|(value, labels)| one(&mut family, value, &labels))
}

fn one(family: &mut MetricEncoder<'_>, value: f64, labels: &Labels<'_>) -> fmt::Result {
    ConstGauge::new(value).encode(family.encode_family(labels)?)
}

/// 1 for yes.
fn flag(value: Option<bool>) -> Option<f64> {
    value.map(|value| f64::from(u8::from(value)))
}
