//! From the web config to what speaks TLS, and what of a client's certificate counts.

use std::sync::Arc;

use tokio_rustls::rustls::client::danger::HandshakeSignatureValid;
use tokio_rustls::rustls::crypto::{
    CryptoProvider, SupportedKxGroup, ring, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::server::{NoClientAuth, WebPkiClientVerifier};
use tokio_rustls::rustls::{
    self, CertificateError, CipherSuite as Suite, DigitallySignedStruct, DistinguishedName, RootCertStore,
    ServerConfig, SignatureScheme, version,
};
use x509_parser::extensions::GeneralName;

use crate::config::web::{CipherSuite, ClientAuth, Curve, Pem, Tls};
use crate::files;

/// Why TLS cannot be spoken as the web config says.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum TlsError {
    #[error("{what} cannot be read")]
    Read {
        what: String,
        #[source]
        source: std::io::Error,
    },
    #[error("{what} holds no {expected} in PEM format")]
    Pem { what: String, expected: &'static str },
    #[error("certificate and key cannot be used")]
    Pair(#[source] rustls::Error),
    #[error("the certificates of client_ca cannot be used")]
    ClientCa(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("no cipher suite or no TLS version is left to use")]
    Nothing(#[source] rustls::Error),
}

/// What speaks TLS.
pub(super) struct Speaks {
    pub(super) config: Arc<ServerConfig>,
    /// Looks at the certificates of clients, in the handshake and later.
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
}

/// As the web config says.
pub(super) fn server(tls: &Tls) -> Result<Speaks, TlsError> {
    let provider = Arc::new(provider(tls));
    let certificates = certificates(&tls.certificate, "cert_file")?;
    let (what, bytes) = bytes(&tls.key, "key_file")?;
    let key = PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| TlsError::Pem { what, expected: "private key" })?;
    let versions: &[&rustls::SupportedProtocolVersion] = match tls.versions {
        (true, true) => &[&version::TLS13, &version::TLS12],
        (false, _) => &[&version::TLS13],
        (true, false) => &[&version::TLS12],
    };
    let verifier = verifier(tls, &provider)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(TlsError::Nothing)?
        .with_client_cert_verifier(Arc::clone(&verifier))
        .with_single_cert(certificates, key)
        .map_err(TlsError::Pair)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ignore_client_order = tls.prefer_own_order;
    Ok(Speaks { config: Arc::new(config), verifier })
}

/// The names in a certificate that a list of allowed names is compared with, as the exporter-toolkit reads them.
pub(super) fn names(certificate: &[u8]) -> Vec<String> {
    let Ok((_, certificate)) = x509_parser::parse_x509_certificate(certificate) else { return vec![] };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return vec![] };
    let name = |name: &GeneralName| match name {
        GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => address(bytes),
        _ => None,
    };
    names.value.general_names.iter().filter_map(name).collect()
}

fn address(bytes: &[u8]) -> Option<String> {
    let v4 = <[u8; 4]>::try_from(bytes).map(std::net::IpAddr::from);
    let v6 = || <[u8; 16]>::try_from(bytes).map(std::net::IpAddr::from);
    Some(v4.or_else(|_| v6()).ok()?.to_string())
}

fn provider(tls: &Tls) -> CryptoProvider {
    let mut provider = ring::default_provider();
    if !tls.cipher_suites.is_empty() {
        let allowed: Vec<Suite> = tls.cipher_suites.iter().filter_map(|suite| suite_of(*suite)).collect();
        // Those of TLS 1.3 cannot be chosen, as in Go; those of 1.2 come in the order in which they stand.
        provider.cipher_suites.retain(|suite| suite.tls13().is_some() || allowed.contains(&suite.suite()));
        provider.cipher_suites.sort_by_key(|suite| allowed.iter().position(|allowed| *allowed == suite.suite()));
    }
    if !tls.curves.is_empty() {
        provider.kx_groups = tls.curves.iter().map(|curve| curve_of(*curve)).collect();
    }
    provider
}

fn suite_of(suite: CipherSuite) -> Option<Suite> {
    Some(match suite {
        CipherSuite::EcdheEcdsaAes128 => Suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::EcdheEcdsaAes256 => Suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        CipherSuite::EcdheEcdsaChacha20 => Suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        CipherSuite::EcdheRsaAes128 => Suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::EcdheRsaAes256 => Suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        CipherSuite::EcdheRsaChacha20 => Suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        CipherSuite::OfTls13 => return None,
    })
}

fn curve_of(curve: Curve) -> &'static dyn SupportedKxGroup {
    match curve {
        Curve::X25519 => ring::kx_group::X25519,
        Curve::P256 => ring::kx_group::SECP256R1,
        Curve::P384 => ring::kx_group::SECP384R1,
    }
}

/// What it is called in errors, and its bytes.
fn bytes(pem: &Pem, key: &str) -> Result<(String, Vec<u8>), TlsError> {
    match pem {
        Pem::Inline(text) => Ok((key.trim_end_matches("_file").to_owned(), text.expose().as_bytes().to_vec())),
        Pem::File(file) => {
            let what = format!("{key} {}", file.display());
            match files::read(file) {
                Ok(bytes) => Ok((what, bytes)),
                Err(source) => Err(TlsError::Read { what, source }),
            }
        }
    }
}

fn certificates(pem: &Pem, key: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let (what, bytes) = bytes(pem, key)?;
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    read.ok().filter(|read| !read.is_empty()).ok_or(TlsError::Pem { what, expected: "certificate" })
}

fn verifier(tls: &Tls, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let verified = match &tls.client_ca {
        Some(ca) if tls.client_auth.verifies() => {
            let unusable = |error| TlsError::ClientCa(Box::new(error));
            let mut roots = RootCertStore::empty();
            for certificate in certificates(ca, "client_ca_file")? {
                roots.add(certificate).map_err(unusable)?;
            }
            let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
            let builder = if tls.client_auth.requires() { builder } else { builder.allow_unauthenticated() };
            Some(builder.build().map_err(|error| TlsError::ClientCa(Box::new(error)))?)
        }
        _ => None,
    };
    if tls.client_auth == ClientAuth::NoClientCert {
        return Ok(Arc::new(NoClientAuth));
    }
    let allowed_sans = tls.allowed_sans.clone();
    Ok(Arc::new(Verifier { verified, auth: tls.client_auth, allowed_sans, provider: Arc::clone(provider) }))
}

/// The toolkit's five ways to look at a client's certificate, and its list of names.
#[derive(Debug)]
struct Verifier {
    /// Checks who signed it, where that is asked for.
    verified: Option<Arc<dyn ClientCertVerifier>>,
    auth: ClientAuth,
    allowed_sans: Option<Vec<String>>,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.auth.requires()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.verified.as_ref().map_or(&[], |verified| verified.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        if let Some(verified) = &self.verified {
            verified.verify_client_cert(certificate, intermediates, now)?;
        }
        match &self.allowed_sans {
            Some(allowed) if !names(certificate).iter().any(|name| allowed.contains(name)) => {
                Err(CertificateError::ApplicationVerificationFailure.into())
            }
            _ => Ok(ClientCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
