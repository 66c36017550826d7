//! Standard Webhooks 1.0.0: secrets and signatures. The signed content is `{id}.{timestamp}.{payload}`, a signature is
//! `v1,<base64 HMAC-SHA256>`, and during a rotation one signature per secret is sent, separated by spaces.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Standard Webhooks 1.0.0, "Signature scheme": a symmetric secret is 24 to 64 random bytes.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// ` v1,` and 32 bytes in base64.
const SIGNATURE_BYTES: usize = 4 + 44;

/// Every secret that is valid now, as a code that has taken the key and nothing else. While a secret is being replaced there
/// are two.
#[derive(Clone)]
pub struct Secrets(Vec<Hmac<Sha256>>);

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SecretError {
    #[error("holds no secret: write one `whsec_…` line")]
    Empty,
    #[error("line {0}: a secret begins with `whsec_`")]
    Prefix(usize),
    #[error("line {0}: what follows `whsec_` is not base64")]
    Base64(usize),
    #[error("line {0}: {1} bytes; a secret has 24 to 64")]
    Length(usize, usize),
}

impl Secrets {
    /// One `whsec_<base64>` a line. Blank lines and lines that begin with `#` are passed over.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let mut secrets = Vec::new();
        for (index, line) in text.lines().map(str::trim).enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let number = index + 1;
            let encoded = line.strip_prefix("whsec_").ok_or(SecretError::Prefix(number))?;
            let secret = STANDARD.decode(encoded).map_err(|_| SecretError::Base64(number))?;
            if !SECRET_BYTES.contains(&secret.len()) {
                return Err(SecretError::Length(number, secret.len()));
            }
            // HMAC takes a key of any length (RFC 2104, §2), so this cannot fail.
            secrets.push(Hmac::new_from_slice(&secret).map_err(|_| SecretError::Length(number, secret.len()))?);
        }
        if secrets.is_empty() { Err(SecretError::Empty) } else { Ok(Self(secrets)) }
    }

    /// The value of `webhook-signature`. `timestamp` is in seconds since the epoch.
    pub fn sign(&self, id: &[u8], timestamp: i64, body: &[u8]) -> String {
        let middle = format!(".{timestamp}.");
        let mut signatures = String::with_capacity(self.0.len() * SIGNATURE_BYTES);
        for keyed in &self.0 {
            let mut mac = keyed.clone();
            for part in [id, middle.as_bytes(), body] {
                mac.update(part);
            }
            signatures.push_str(if signatures.is_empty() { "v1," } else { " v1," });
            STANDARD.encode_string(mac.finalize().into_bytes(), &mut signatures);
        }
        signatures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const SECOND: &str = "whsec_c2Vjb25kLXNlY3JldC1vZi0zMi1ieXRlcy1sb25nISE=";

    /// The example of the specification's own test vectors.
    #[test]
    fn signs_as_the_specification_shows() {
        let secrets = Secrets::parse(FIRST).expect("a secret");
        let signature = secrets.sign(b"msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn the_reference_implementation_verifies_us_under_each_secret_of_a_rotation() {
        let secrets = Secrets::parse(&format!("# old\n{FIRST}\n\n{SECOND}\n")).expect("two secrets");
        let now = jiff::Timestamp::now().as_second();
        let body = r#"{"name":"统一社会信用代码"}"#.as_bytes();
        let signature = secrets.sign(b"msg_1", now, body);
        assert_eq!(signature.split(' ').count(), 2);
        let mut headers = http::HeaderMap::new();
        headers.insert("webhook-id", "msg_1".parse().expect("a header"));
        headers.insert("webhook-timestamp", now.to_string().parse().expect("a header"));
        headers.insert("webhook-signature", signature.parse().expect("a header"));
        for secret in [FIRST, SECOND] {
            let webhook = standardwebhooks::Webhook::new(secret).expect("a secret");
            webhook.verify(body, &headers).expect("the reference implementation accepts it");
            webhook.verify(b"{}", &headers).expect_err("another body is refused");
        }
    }

    #[test]
    fn a_wrong_secret_file_says_which_line() {
        assert_eq!(Secrets::parse("\n# nothing\n").expect_err("empty"), SecretError::Empty);
        assert_eq!(Secrets::parse("# a\nsecret").expect_err("prefix"), SecretError::Prefix(2));
        assert_eq!(Secrets::parse("whsec_*").expect_err("base64"), SecretError::Base64(1));
        assert_eq!(Secrets::parse("whsec_c2hvcnQ=").expect_err("length"), SecretError::Length(1, 5));
    }
}
