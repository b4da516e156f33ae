//go:build !linux

package origdst

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
)

// Redirected returns errors.ErrUnsupported.
func Redirected(syscall.Conn) (netip.AddrPort, error) {
	return netip.AddrPort{}, errors.ErrUnsupported
}

// Listen returns errors.ErrUnsupported.
func Listen(context.Context, string, string) (net.Listener, error) {
	return nil, errors.ErrUnsupported
}
