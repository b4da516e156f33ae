// Package dnstest runs a signed DNS for tests: the authoritative server Knot DNS
// with a zone that it signs itself, and the validating resolver Unbound, which has
// the key of that zone as its only trust anchor. Both listen on loopback
// addresses, on ports of their own, and end with the test.
//
// It has three zones:
//
//	example.           signed by Knot DNS; the records are the test's
//	unsigned.example.  delegated without a DS record
//	bogus.example.     signed, with a DS record, and damaged as the test wants
package dnstest
