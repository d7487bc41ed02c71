//! Families of metrics, each in one row: the field that counts, its type, name, labels and help.

/// A family, for the reference.
pub struct Documented {
    /// The name without `lvm_autoscaler_` and, for a counter, without `_total`.
    pub name: &'static str,
    /// What it is.
    pub kind: prometheus_client::metrics::MetricType,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// A sentence that stands alone, without its full stop.
    pub help: &'static str,
}

/// A struct of families. A row: documentation, field, type, how it begins if not with `default()`, name, labels, and
/// help; what is no family stands behind `also`.
macro_rules! families {
    (
        $(#[$of_all:meta])*
        pub struct $all:ident {
            $($(#[$doc:meta])* $vis:vis $field:ident: $metric:ty $(= $new:expr)?, $name:literal [$($label:literal),*] $help:literal;)+
        }
        also { $($(#[$also_doc:meta])* $also_vis:vis $also:ident: $type:ty,)* }
    ) => {
        $(#[$of_all])*
        pub struct $all {
            $($(#[$doc])* $vis $field: $metric,)+
            $($(#[$also_doc])* $also_vis $also: $type,)*
        }

        impl $all {
            /// All families, for the reference.
            pub const FAMILIES: &[$crate::metrics::families::Documented] = &[$($crate::metrics::families::Documented {
                name: $name,
                kind: <$metric as prometheus_client::metrics::TypedMetric>::TYPE,
                labels: &[$($label),*],
                help: $help,
            }),+];

            /// With nothing counted, and not registered.
            fn new() -> $all {
                $all {
                    $($field: families!(@new $($new)?),)+
                    $($also: <$type>::default(),)*
                }
            }

            fn add_to(&self, registry: &mut prometheus_client::registry::Registry) {
                $(registry.register($name, $help, self.$field.clone());)+
            }
        }
    };
    (@new) => { Default::default() };
    (@new $new:expr) => { $new };
}

pub(super) use families;

/// A registry as it stands on a page of metrics, without the mark at its end. Nothing in it can fail to be written.
pub(super) fn written(registry: &prometheus_client::registry::Registry) -> String {
    let mut text = String::new();
    let _ = prometheus_client::encoding::text::encode_registry(&mut text, registry);
    text
}
