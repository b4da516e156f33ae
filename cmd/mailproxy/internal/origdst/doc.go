// Package origdst tells where a TCP connection was going that netfilter has led to
// this host: by REDIRECT, where the kernel is asked (SO_ORIGINAL_DST), or by
// TPROXY, where the connection still has that address.
//
// It is for Linux; elsewhere every function returns errors.ErrUnsupported.
package origdst
