//! Forms as `multipart/form-data` (RFC 7578), which the form of a server's options is sent as. The whole body
//! is in memory already, within the limit of every form. Files are left out: no option takes one.

use hubd_proto::Secret;

/// Most fields of a form; the largest of the hub's own has a few hundred.
const FIELDS_MAX: usize = 512;
/// Longest boundary, in bytes (RFC 2046).
const BOUNDARY_BYTES_MAX: usize = 70;

/// The boundary that a `Content-Type` names.
pub fn boundary(content_type: &str) -> Option<String> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let boundary = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"').to_owned())
    })?;
    (!boundary.is_empty() && boundary.len() <= BOUNDARY_BYTES_MAX).then_some(boundary)
}

/// The fields of a body, in their order; what is broken or no text is left out.
pub fn fields(body: &[u8], boundary: &str) -> Vec<(String, Secret)> {
    let mark = format!("--{boundary}");
    let mut parts = split(body, mark.as_bytes()).into_iter();
    parts.next();
    parts.take(FIELDS_MAX).filter_map(field).collect()
}

/// A part that is a field.
fn field(part: &[u8]) -> Option<(String, Secret)> {
    let part = part.strip_prefix(b"\r\n")?.strip_suffix(b"\r\n")?;
    let (head, value) = std::str::from_utf8(part).ok()?.split_once("\r\n\r\n")?;
    let disposition = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
    })?;
    if disposition.contains("filename=") || disposition.contains("filename*=") {
        return None;
    }
    let name = disposition.split_once("name=\"")?.1.split('"').next()?;
    let name = name.replace("%22", "\"").replace("%0D", "\r").replace("%0A", "\n");
    Some((name, Secret::new(value.to_owned())))
}

/// What stands between the marks.
fn split<'a>(mut rest: &'a [u8], mark: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    while let Some(at) = rest.windows(mark.len()).position(|window| window == mark) {
        let (part, after) = rest.split_at(at);
        parts.push(part);
        rest = after.get(mark.len()..).unwrap_or_default();
    }
    parts.push(rest);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Vec<(String, String)> {
        let fields = fields(body.as_bytes(), "XX");
        fields.into_iter().map(|(name, value)| (name, value.expose().to_owned())).collect()
    }

    #[test]
    fn fields_are_read_and_files_left_out() {
        let body = "--XX\r\nContent-Disposition: form-data; name=\"a b\"\r\n\r\n1\r\n2\r\n\
            --XX\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x\"\r\nContent-Type: text/plain\r\n\r\nz\r\n\
            --XX\r\ncontent-disposition: form-data; name=\"q%22\"\r\n\r\n\r\n--XX--\r\n";
        let wanted = [("a b".to_owned(), "1\r\n2".to_owned()), ("q\"".to_owned(), String::new())];
        assert_eq!(read(body), wanted);
    }

    #[test]
    fn broken_bodies_have_fewer_fields() {
        for body in
            ["", "--XX", "--XX\r\n\r\n\r\n--XX--", "--XX\r\nContent-Disposition: x\r\n\r\n1\r\n--XX--"]
        {
            assert!(read(body).is_empty(), "{body:?}");
        }
    }

    #[test]
    fn only_forms_in_parts_have_a_boundary() {
        assert_eq!(boundary("multipart/form-data; boundary=\"a\"").as_deref(), Some("a"));
        assert_eq!(boundary("Multipart/Form-Data; charset=x; Boundary=b").as_deref(), Some("b"));
        for odd in ["text/plain; boundary=x", "multipart/form-data", "multipart/form-data; boundary="] {
            assert_eq!(boundary(odd), None, "{odd}");
        }
    }
}
