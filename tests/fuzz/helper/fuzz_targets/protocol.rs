//! Everything that a daemon may send on one connection: a message is taken and stays what it was, or refused.
#![no_main]

use hubd_proto::frame;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let mut wire = data;
    while let Ok(body) = frame::read_body(&mut wire) {
        assert!(body.len() <= hubd_proto::FRAME_BYTES_MAX);
        if let Ok(request) = frame::decode_request(&body) {
            // Escapes may make it longer than a frame; then nobody could have sent it in this form.
            if let Ok(again) = frame::encode(&request) {
                assert!(frame::decode_request(&again[frame::HEADER_BYTES..]).is_ok());
            }
        }
    }
    let _ = frame::decode_request(data);
    let _ = frame::decode::<hubd_proto::Reply>(data);
});
