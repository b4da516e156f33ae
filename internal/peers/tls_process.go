package peers

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A Process is a program of somebody else that a test runs beside itself, in
// the foreground and on loopback. It is stopped, with all of its children, when
// the test ends. Its methods may be called from several goroutines.
type Process struct {
	// Addr is where it listens, if it listens in one place, as host:port.
	Addr string
	// Stdin is the program's standard input.
	Stdin io.WriteCloser

	cmd  *exec.Cmd
	log  *syncBuffer
	done chan struct{} // closed when the program has ended
}

// Log returns what the program has printed, standard output and error together.
func (p *Process) Log() string { return p.log.String() }

// PID returns the number of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// WaitLog waits until the program has printed a text; if it does not within ten
// seconds, or ends before, the test fails.
func (p *Process) WaitLog(tb testing.TB, text string) {
	tb.Helper()
	p.await(tb, "to print "+strconv.Quote(text), func() bool { return strings.Contains(p.Log(), text) })
}

// waitPort waits until something listens at an address.
func (p *Process) waitPort(tb testing.TB, addr string) {
	tb.Helper()
	p.await(tb, "to listen at "+addr, func() bool {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			return false
		}
		_ = c.Close()
		return true
	})
}

func (p *Process) await(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
		select {
		case <-p.done:
			if !ok() {
				tb.Fatalf("%s ended; expected %s:\n%s", p.cmd.Path, what, p.Log())
			}
			return
		default:
		}
		if time.Now().After(end) {
			tb.Fatalf("%s: waited in vain for it %s:\n%s", p.cmd.Path, what, p.Log())
		}
	}
}

// Stop ends the program and its children. It may be called twice.
func (p *Process) Stop() {
	terminate(p.cmd)
	select {
	case <-p.done:
	case <-time.After(500 * time.Millisecond):
	}
	killGroup(p.cmd)
	<-p.done
	_ = p.Stdin.Close()
}

// StartProcess starts a program for a test. Debian names the package that has
// it. If it is not installed the test is skipped, or with CI=true fails.
func StartProcess(tb testing.TB, debian, program string, args ...string) *Process {
	tb.Helper()
	path := NeedProgram(tb, debian, program)
	p := &Process{cmd: exec.Command(path, args...), log: &syncBuffer{}, done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), "LC_ALL=C")
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	ownGroup(p.cmd)
	p.cmd.WaitDelay = 2 * time.Second
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	p.Stdin = stdin
	if err = p.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	tb.Cleanup(p.Stop)
	return p
}

// NeedProgram returns the path of a program, which may be in a folder for
// administrators. If it is not installed the test is skipped, or with CI=true
// fails.
func NeedProgram(tb testing.TB, debian, program string) string {
	tb.Helper()
	path, err := exec.LookPath(program)
	for _, dir := range []string{"/usr/sbin/", "/sbin/", "/usr/local/sbin/"} {
		if err == nil {
			return path
		}
		path, err = exec.LookPath(dir + program)
	}
	if err == nil {
		return path
	}
	const text = "%s is not installed (Debian package %s)"
	if os.Getenv("CI") == "true" {
		tb.Fatalf(text, program, debian)
	}
	tb.Skipf(text, program, debian)
	return ""
}

var givenPorts sync.Map // of FreePort

// FreePort returns a port of 127.0.0.1 at which nobody listens. It is below those
// that systems give to outgoing connections, any of which could take it before the
// server that it is for begins to listen. No port is given twice: a server with many
// would take it for one that is configured twice.
func FreePort(tb testing.TB) string {
	tb.Helper()
	for range 200 {
		port := strconv.Itoa(10000 + rand.IntN(20000))
		if _, given := givenPorts.LoadOrStore(port, true); given {
			continue
		}
		if l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port)); err == nil {
			_ = l.Close() // it only shows that the port is free
			return port
		}
	}
	tb.Fatal("there is no free port")
	return ""
}

// A syncBuffer is a buffer for one writer and several readers.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
