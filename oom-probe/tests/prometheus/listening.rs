//! Where a process listens, for one that was told to take any free port and does not say which.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};

/// `TCP_LISTEN` of the kernel's include/net/tcp_states.h, as /proc/net/tcp writes it.
const LISTEN: &str = "0A";

/// The address of a listening TCP socket that the process has, if it has one.
pub(super) fn address(pid: u32) -> Option<SocketAddr> {
    let sockets: Vec<String> = fs::read_dir(format!("/proc/{pid}/fd"))
        .ok()?
        .flatten()
        .filter_map(|entry| {
            let link = fs::read_link(entry.path()).ok()?;
            let inode = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
            Some(inode.to_owned())
        })
        .collect();
    let table = fs::read_to_string(format!("/proc/{pid}/net/tcp")).ok()?;
    table.lines().find_map(|line| {
        let (address, inode) = listening(line)?;
        sockets.iter().any(|own| own == inode).then_some(address)
    })
}

/// Address and inode of a line of /proc/net/tcp that is of a listening socket
/// (`Documentation/networking/proc_net_tcp.rst`).
fn listening(line: &str) -> Option<(SocketAddr, &str)> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [_, local, _, LISTEN, _, _, _, _, _, inode, ..] = fields[..] else {
        return None;
    };
    let (address, port) = local.split_once(':')?;
    // The address is printed as a number of this machine's byte order.
    let address = u32::from_str_radix(address, 16).ok()?.to_ne_bytes();
    let port = u16::from_str_radix(port, 16).ok()?;
    Some((SocketAddr::from((Ipv4Addr::from(address), port)), inode))
}
