//! What became of something, as a value that is one word in metrics and answers.

/// An enum whose values have a word each: `as_str`, `ALL`, the value of a label, and the same word in JSON.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $value:ident $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$doc])* $value,)+
        }

        impl $name {
            /// All of them.
            pub const ALL: &[$name] = &[$($name::$value,)+];

            /// Its word.
            pub fn as_str(self) -> &'static str {
                match self {
                    $($name::$value => $word,)+
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl prometheus_client::encoding::EncodeLabelValue for $name {
            fn encode(&self, encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>) -> std::fmt::Result {
                prometheus_client::encoding::EncodeLabelValue::encode(&self.as_str(), encoder)
            }
        }
    };
}

words! {
    /// What became of an alert at the webhook.
    AlertVerdict {
        /// A look at its target is written down to be made.
        Accepted "accepted",
        /// One waits already: it adds nothing.
        Coalesced "coalesced",
        /// It must come again.
        NotAccepted "not_accepted",
        /// It names no target of this host.
        Refused "refused",
        /// It is not for us, or says nothing about a volume.
        Ignored "ignored",
        /// It is over.
        Resolved "resolved",
    }
}

words! {
    /// How an attempt to notify ended.
    Notified {
        /// It was sent.
        Sent "sent",
        /// It was not, and is tried again.
        Retried "retried",
        /// It was not, and is given up.
        Failed "failed",
        /// It was thrown away because too many wait.
        Dropped "dropped",
    }
}

words! {
    /// What became of the alerts that the relay sent to a host.
    Delivered {
        /// It accepted them.
        Accepted "accepted",
        /// It answered that it does not.
        Rejected "rejected",
        /// It did not answer.
        Unreachable "unreachable",
    }
}

words! {
    /// What the relay did with an alert.
    Passed {
        /// It was sent to its host.
        Forwarded "forwarded",
        /// Its host is not in the list.
        UnknownInstance "unknown_instance",
        /// It is over, so it was not sent.
        Resolved "resolved",
    }
}
