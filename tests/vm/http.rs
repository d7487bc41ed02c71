//! HTTP for a handful of requests: one connection each, `Connection: close`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

pub(crate) fn get(address: SocketAddr, path: &str) -> std::io::Result<Answer> {
    request(address, &format!("GET {path} HTTP/1.1\r\n"), "")
}

pub(crate) fn post(address: SocketAddr, path: &str, body: &str) -> std::io::Result<Answer> {
    request(address, &format!("POST {path} HTTP/1.1\r\nContent-Type: application/json\r\n"), body)
}

/// Sends a request whose first lines are `head`.
pub(crate) fn request(address: SocketAddr, head: &str, body: &str) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.set_write_timeout(Some(Duration::from_secs(30)))?;
    write!(stream, "{head}Host: {address}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let odd = || std::io::Error::other(format!("not an answer: {text:?}"));
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(odd)?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(odd)?;
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked { joined(body) } else { body.to_owned() };
    Ok(Answer { status, body })
}

/// The chunks of a body put together; Go's servers send large answers so.
fn joined(mut rest: &str) -> String {
    let mut body = String::new();
    while let Some((length, after)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length.trim(), 16).unwrap_or(0);
        let Some(chunk) = after.get(..length) else { break };
        if length == 0 {
            break;
        }
        body.push_str(chunk);
        rest = after.get(length + 2..).unwrap_or("");
    }
    body
}
