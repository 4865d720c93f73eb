//! The only `unsafe` code of hubd-session: descriptors come as numbers.
#![allow(unsafe_code)]

use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::sys::socket::{ControlMessageOwned, MsgFlags, cmsg_space, recvmsg};

/// Receives one packet and the descriptors that come with it, at most `descriptors_max`, see unix(7).
pub fn receive(
    line: BorrowedFd<'_>,
    packet: &mut [u8],
    descriptors_max: usize,
) -> nix::Result<(usize, Vec<OwnedFd>)> {
    let mut space = vec![0; cmsg_space::<[RawFd; 1]>() * descriptors_max];
    let (mut buffers, flags) = ([IoSliceMut::new(packet)], MsgFlags::MSG_CMSG_CLOEXEC);
    let received = recvmsg::<()>(line.as_raw_fd(), &mut buffers, Some(&mut space), flags)?;
    let mut descriptors = Vec::new();
    for message in received.cmsgs()? {
        let ControlMessageOwned::ScmRights(numbers) = message else { continue };
        // SAFETY: the kernel has just opened these numbers for this process, and nobody else has them.
        descriptors.extend(numbers.into_iter().map(|number| unsafe { OwnedFd::from_raw_fd(number) }));
    }
    Ok((received.bytes, descriptors))
}
