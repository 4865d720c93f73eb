//! Compressed headers (RFC 7541).

use super::{COMPRESSION, Case, HEADERS, Verdict, WHOLE, frame};

/// `:scheme: https`, `:path: /`, `:authority: hub`.
const COMMON: &[u8] = b"\x87\x84\x01\x03hub";
/// `:method: GET`.
const METHOD: &[u8] = b"\x82";

/// A GET with more in its header block.
pub fn get(more: &[u8]) -> Vec<u8> {
    [METHOD, COMMON, more].concat()
}

/// A POST, whose body follows.
pub fn post(more: &[u8]) -> Vec<u8> {
    [b"\x83", COMMON, more].concat()
}

/// A header that is written out and not remembered.
pub fn literal(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    [vec![0], text(name), text(value)].concat()
}

#[rustfmt::skip]
pub fn cases() -> Vec<Case> {
    let bad = Verdict::Connection(&[COMPRESSION]);
    let request = |block: &[u8]| frame(HEADERS, WHOLE, 1, block);
    vec![
        ("2.3.3: an index beyond the tables", request(&get(&[0xc6])), bad),
        ("2.3.3: a name with an index beyond the tables", request(&get(b"\x7f\x7f\x01b")), bad),
        ("4.2: a size update behind the first header", request(&get(&[0x20])), bad),
        ("5.2: padding of Huffman code longer than 7 bits", request(&get(b"\x00\x85\xf2\xb2\x4a\x84\xff\x87\x49\x51\x3e\x42\x7f\xff")), bad),
        ("5.2: padding of Huffman code with zeros", request(&get(b"\x00\x85\xf2\xb2\x4a\x87\xff\x82\x49\x50")), bad),
        ("5.2: the end of string in Huffman code", request(&get(b"\x00\x85\xf2\xb2\x4a\x87\xff\x87\x49\x51\xff\xff\xff\xfa\x7f")), bad),
        ("6.1: index 0", request(&get(&[0x80])), bad),
        ("6.3: a table larger than announced", request(&[&[0x3f, 0xe2, 0x7f], &get(b"")[..]].concat()), bad),
        ("5.1: a number without an end", request(&get(b"\x0f\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")), bad),
        ("a block that ends within a header", request(&get(b"\x00\x05abc")), bad),
        ("6.2.1: a remembered header, used again", [frame(HEADERS, WHOLE, 1, &get(b"\x40\x01a\x01b")), frame(HEADERS, WHOLE, 3, &get(b"\xbe"))].concat(), Verdict::Fine),
        ("5.2: Huffman code", request(&get(b"\x40\x85\xf2\xb2\x4a\x84\xff\x83\x49\x50\x9f")), Verdict::Fine),
        ("6.2.2: a name of the static table", request(&get(b"\x0f\x2b\x01b")), Verdict::Fine),
        ("4.4: a header larger than the table empties it", [frame(HEADERS, WHOLE, 1, &[&[0x3f, 0x01][..], &get(b"\x40\x01a\x01b\x40\x01a\x01b")].concat()), frame(HEADERS, WHOLE, 3, &get(b"\xbf"))].concat(), bad),
        ("6.2.3: a header that must never be remembered", request(&get(b"\x10\x01a\x01b")), Verdict::Fine),
        ("6.3: a table of no size", request(&[&[0x20], &get(b"")[..]].concat()), Verdict::Fine),
    ]
}
