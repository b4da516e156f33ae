package peers

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

// StartSServer starts "openssl s_server" with a certificate and key, PEM files.
// Further arguments are appended. What it is sent it prints; what is written to
// its Stdin it sends.
func StartSServer(tb testing.TB, cert, key string, args ...string) *Process {
	tb.Helper()
	addr := net.JoinHostPort("127.0.0.1", FreePort(tb))
	p := StartProcess(tb, "openssl", "openssl", append([]string{
		"s_server", "-accept", addr, "-cert", cert, "-key", key,
	}, args...)...)
	p.Addr = addr
	p.WaitLog(tb, "ACCEPT")
	return p
}

// StartGnuTLSServ starts "gnutls-serv" as an echo server with a certificate and
// key, PEM files. Further arguments are appended.
func StartGnuTLSServ(tb testing.TB, cert, key string, args ...string) *Process {
	tb.Helper()
	port := FreePort(tb)
	p := StartProcess(tb, "gnutls-bin", "gnutls-serv", append([]string{
		"--port", port, "--x509certfile", cert, "--x509keyfile", key, "--echo",
	}, args...)...)
	p.Addr = net.JoinHostPort("127.0.0.1", port)
	p.WaitLog(tb, "done")
	return p
}

// SClient runs "openssl s_client" against an address until its input ends, and
// returns the process. Further arguments are appended.
func SClient(tb testing.TB, addr string, args ...string) *Process {
	tb.Helper()
	return StartProcess(tb, "openssl", "openssl", append([]string{"s_client", "-connect", addr}, args...)...)
}

// short makes a folder with a short name, since the names of Unix sockets are
// limited, that everybody may enter, since some programs change their user.
func short(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "peer")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err = os.Chmod(dir, 0o755); err != nil {
		tb.Fatal(err)
	}
	return dir
}

// copyFile copies a file into a folder, under its own name, with a mode.
func copyFile(tb testing.TB, dir, name string, mode os.FileMode) string {
	tb.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		tb.Fatal(err)
	}
	path := filepath.Join(dir, filepath.Base(name))
	if err = os.WriteFile(path, data, mode); err != nil {
		tb.Fatal(err)
	}
	return path
}
