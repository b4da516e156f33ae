// Package mailtest has what tests of mail need: a mail server that keeps what it
// is given, and people with keys. Nothing in it is meant to protect anything.
package mailtest
