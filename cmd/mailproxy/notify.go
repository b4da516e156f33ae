package main

import (
	"net"
	"os"
	"strings"
)

// notify tells systemd of the state of the program (sd_notify(3)), where it wants
// to know: "READY=1" and the like, one in a line.
func notify(states ...string) error {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"}) // "@" is the abstract namespace
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // the datagram is whole
	_, err = conn.Write([]byte(strings.Join(states, "\n")))
	return err
}
