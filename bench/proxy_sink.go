package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/postseal/postseal/cms"
	"github.com/postseal/postseal/smime"
)

// A sink is a mail server that takes everything, in place of Postfix's
// smtp-sink, which answers 250 to a login where RFC 4954, Section 6 has 235: a
// proxy that looks at it takes that for a failure.
type sink struct {
	l    net.Listener
	tls  *tls.Config
	seen *inbox
}

// An inbox has the first messages that came to a sink since it was last reset.
type inbox struct {
	mu       sync.Mutex
	messages [][]byte
}

// maxSeen is how many messages of a round are looked at.
const maxSeen = 20

func (b *inbox) reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.messages = nil
}

// add takes a copy of a message, or none.
func (b *inbox) add(message []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.messages) < maxSeen {
		b.messages = append(b.messages, bytes.Clone(message))
	}
}

func (s *sink) serve() {
	for {
		conn, err := s.l.Accept()
		if err != nil {
			return // it was closed
		}
		go s.talk(conn)
	}
}

const sinkHello = "250-sink.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n"

func (s *sink) talk(conn net.Conn) {
	defer func() { _ = conn.Close() }() // the client is gone
	br := bufio.NewReaderSize(conn, 32<<10)
	var message []byte
	answer := "220 sink.example ESMTP\r\n"
	for {
		if _, err := io.WriteString(conn, answer); err != nil {
			return
		}
		line, err := br.ReadString('\n')
		if err != nil {
			return
		}
		switch verb, _, _ := strings.Cut(strings.ToUpper(strings.TrimSpace(line)), " "); verb {
		case "EHLO":
			answer = sinkHello
		case "STARTTLS":
			if _, err = io.WriteString(conn, "220 2.0.0 Go on\r\n"); err != nil {
				return
			}
			conn = tls.Server(conn, s.tls)
			br.Reset(conn)
			if line, err = br.ReadString('\n'); err != nil || !strings.HasPrefix(line, "EHLO") {
				return
			}
			answer = sinkHello
		case "AUTH":
			answer = "235 2.7.0 Welcome\r\n"
		case "QUIT":
			_, _ = io.WriteString(conn, "221 2.0.0 Bye\r\n") // the client is going
			return
		case "DATA":
			if _, err = io.WriteString(conn, "354 Go on\r\n"); err != nil {
				return
			}
			if message, err = readDotted(br, message[:0]); err != nil {
				return
			}
			s.seen.add(message)
			answer = "250 2.0.0 Ok\r\n"
		default:
			answer = "250 2.0.0 Ok\r\n"
		}
	}
}

// readDotted reads a message up to its dot. None of these has other lines that
// begin with one.
func readDotted(br *bufio.Reader, message []byte) ([]byte, error) {
	for {
		text, err := br.ReadSlice('\n')
		if err != nil {
			return message, err
		}
		if string(text) == ".\r\n" {
			return message, nil
		}
		message = append(message, text...)
	}
}

// errWrong says that what arrived is not what it has to be.
var errWrong = errors.New("what arrived is wrong")

// verify looks at what has arrived of a message: mail of those whom the proxy has no
// keys of is what was sent, and all other mail is encrypted to its recipient, and
// signed by its sender, within.
func (w *mailWorld) verify(login, mail string) error {
	sent := strings.TrimSuffix(mail, ".\r\n")
	w.seen.mu.Lock()
	defer w.seen.mu.Unlock()
	if len(w.seen.messages) == 0 {
		return fmt.Errorf("nothing arrived: %w", errWrong)
	}
	for _, message := range w.seen.messages {
		if login == loginPlain {
			if string(message) != sent {
				return fmt.Errorf("a message that was passed on was changed: %w", errWrong)
			}
			continue
		}
		if err := w.open(login, message, sent); err != nil {
			return err
		}
	}
	return nil
}

// open decrypts a message as its recipient, verifies it, and compares it.
func (w *mailWorld) open(login string, message []byte, sent string) error {
	p := w.people[recipientOf(login)]
	m, err := smime.Read(bytes.NewReader(message), &smime.ReadOptions{Trust: cms.TrustRoots(w.ca.Root()), Identities: []cms.Identity{cms.NewIdentity(p.Cert, p.Key)}})
	if m != nil {
		defer func() { _ = m.Close() }() // it was in memory
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errWrong, err)
	}
	body, err := io.ReadAll(m.Body())
	if err != nil {
		return err
	}
	signers := m.Layers[len(m.Layers)-1].Signers
	_, want, _ := strings.Cut(sent, "\r\n\r\n")
	if !m.Encrypted || !m.Signed || !m.Trusted || len(signers) != 1 || !signers[0].Certificate.HasEmail(login+mailDomain) || string(body) != want {
		return fmt.Errorf("encrypted %t, signed %t, trusted %t, %d octets: %w", m.Encrypted, m.Signed, m.Trusted, len(body), errWrong)
	}
	return nil
}

// self is this process: clients, our sink, and the operations with keys.
func self() []string { return []string{"self"} }

func (w *mailWorld) proxyPIDs() []string { return []string{strconv.Itoa(w.proxy.PID())} }

// nginxPIDs are those of nginx and its workers.
func (w *mailWorld) nginxPIDs() []string {
	data, err := os.ReadFile(w.file(nginxPID))
	if err != nil {
		return nil
	}
	pid := strings.TrimSpace(string(data))
	children, err := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children")
	if err != nil {
		return nil
	}
	return append(strings.Fields(string(children)), pid)
}

// cpuOf returns the time of all cores that the threads of processes have taken; 0
// where that cannot be found out.
func cpuOf(pids []string) time.Duration {
	total := 0
	for _, pid := range pids {
		files, err := filepath.Glob("/proc/" + pid + "/task/*/schedstat")
		if err != nil || len(files) == 0 {
			return 0
		}
		for _, name := range files {
			data, readErr := os.ReadFile(name)
			if readErr != nil {
				continue // the thread has ended
			}
			first, _, _ := strings.Cut(string(data), " ")
			n, numErr := strconv.Atoi(first) // nanoseconds
			if numErr != nil {
				return 0
			}
			total += n
		}
	}
	return time.Duration(total)
}
