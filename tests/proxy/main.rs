//! The proxy over loopback sockets: real ones at both ends, and by hand where bytes matter.

mod support;

mod forwarding;
mod websockets;
