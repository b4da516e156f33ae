package origdst

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ip6tOriginalDst is IP6T_SO_ORIGINAL_DST of linux/netfilter_ipv6/ip6_tables.h,
// which has the number of SO_ORIGINAL_DST.
const ip6tOriginalDst = unix.SO_ORIGINAL_DST

// Redirected returns where a connection was going before REDIRECT. The error is
// that of the kernel: ENOENT when it knows of no such connection. One that nobody
// led here has the address of the listener.
func Redirected(conn syscall.Conn) (netip.AddrPort, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return netip.AddrPort{}, err
	}
	var out netip.AddrPort
	var got error
	err = raw.Control(func(fd uintptr) { out, got = original(int(fd)) })
	return out, errors.Join(err, got)
}

// original asks the kernel. A socket for IPv6 may have a connection of IPv4.
func original(fd int) (netip.AddrPort, error) {
	local, err := unix.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}, os.NewSyscallError("getsockname", err)
	}
	if l, ok := local.(*unix.SockaddrInet6); ok && !netip.AddrFrom16(l.Addr).Is4In6() {
		// The structure begins with a sockaddr_in6, and is what x/sys has of at
		// least its size.
		v, optErr := unix.GetsockoptIPv6MTUInfo(fd, unix.IPPROTO_IPV6, ip6tOriginalDst)
		if optErr != nil {
			return netip.AddrPort{}, os.NewSyscallError("getsockopt", optErr)
		}
		return netip.AddrPortFrom(netip.AddrFrom16(v.Addr.Addr), ntohs(v.Addr.Port)), nil
	}
	// A sockaddr_in has 16 octets; ipv6_mreq, of 20, holds it: the family, the
	// port and the address, in the order of the network.
	v, err := unix.GetsockoptIPv6Mreq(fd, unix.IPPROTO_IP, unix.SO_ORIGINAL_DST)
	if err != nil {
		return netip.AddrPort{}, os.NewSyscallError("getsockopt", err)
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(v.Multiaddr[4:8])), binary.BigEndian.Uint16(v.Multiaddr[2:4])), nil
}

// ntohs reads a port as it lies in memory.
func ntohs(port uint16) uint16 {
	return binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&port))[:])
}

// Listen listens for connections that TPROXY leads here: IP_TRANSPARENT, which
// takes CAP_NET_ADMIN.
func Listen(ctx context.Context, network, address string) (net.Listener, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var got error
		err := c.Control(func(fd uintptr) {
			got = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_TRANSPARENT, 1)
			// For a socket of IPv6 this is a second flag; others do not know it.
			if domain, _ := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DOMAIN); got == nil && domain == unix.AF_INET6 {
				got = unix.SetsockoptInt(int(fd), unix.SOL_IPV6, unix.IPV6_TRANSPARENT, 1)
			}
		})
		return errors.Join(err, os.NewSyscallError("setsockopt", got))
	}}
	return lc.Listen(ctx, network, address)
}
