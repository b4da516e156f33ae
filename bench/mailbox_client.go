package main

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"
)

// A boxClient speaks IMAP. It waits for each answer before it goes on.
type boxClient struct{ *mailClient }

// dialIMAP connects, and logs in; without a configuration there is no TLS.
func dialIMAP(address, login string, config *tls.Config) (*boxClient, error) {
	m, err := dialMail(address)
	if err != nil {
		return nil, err
	}
	c := &boxClient{m}
	if config != nil {
		if err = c.ok("STARTTLS"); err == nil {
			c.secure(config)
		}
	}
	if err == nil {
		err = c.ok("LOGIN " + login + " " + mailSecret)
	}
	if err != nil {
		_ = c.conn.Close() // the error is told
		return nil, err
	}
	return c, nil
}

// close logs out, and waits for the server to end the connection.
func (c *boxClient) close() {
	if c.ok("LOGOUT") == nil {
		_, _ = io.Copy(io.Discard, c.br) // what comes now is of no interest
	}
	_ = c.conn.Close() // all was read
}

// ok carries out a command.
func (c *boxClient) ok(command string) error { return c.run(command, io.Discard) }

// fetch asks for something of all messages; out gets the responses.
func (c *boxClient) fetch(items string, out io.Writer) error { return c.run("FETCH 1:* "+items, out) }

// run carries out a command; out gets the responses but the last.
func (c *boxClient) run(command string, out io.Writer) error {
	if _, err := io.WriteString(c.conn, "a "+command+"\r\n"); err != nil {
		return err
	}
	return c.finish(command, out)
}

// finish reads up to the end of a command.
func (c *boxClient) finish(command string, out io.Writer) error {
	for {
		line, err := c.br.ReadSlice('\n')
		if err != nil {
			return err
		}
		if bytes.HasPrefix(line, []byte("a ")) || bytes.HasPrefix(line, []byte("* BYE")) && !strings.HasPrefix(command, "LOGOUT") {
			if !bytes.HasPrefix(line, []byte("a OK")) {
				return &answerError{command, strings.TrimSpace(string(line))}
			}
			return nil
		}
		size := literalSize(line)
		if _, err = out.Write(line); err == nil && size > 0 {
			_, err = io.CopyN(out, c.br, size)
		}
		if err != nil {
			return err
		}
	}
}

// literalSize returns the size of the literal that a line ends with; 0 when there
// is none.
func literalSize(line []byte) int64 {
	line = bytes.TrimRight(line, "\r\n")
	open := bytes.LastIndexByte(line, '{')
	if open < 0 || line[len(line)-1] != '}' {
		return 0
	}
	size, err := strconv.ParseInt(string(line[open+1:len(line)-1]), 10, 64)
	if err != nil {
		return 0
	}
	return size
}

// responses splits what came into responses, each with its last literal.
func responses(out []byte) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for len(out) > 0 {
			var text strings.Builder
			var literal []byte
			for {
				line, rest, _ := bytes.Cut(out, []byte("\n"))
				text.Write(line)
				size := literalSize(line)
				if out = rest; size == 0 || size > int64(len(out)) {
					break
				}
				literal, out = out[:size], out[size:]
				if size < 1000 { // it is a part of a structure or an envelope
					text.Write(literal)
				}
			}
			if !yield(text.String(), literal) {
				return
			}
		}
	}
}

// store stores messages in a mailbox, which is made.
func (c *boxClient) store(box string, n int, message func(i int) ([]byte, error)) error {
	if err := c.ok("CREATE " + box); err != nil {
		return err
	}
	for i := range n {
		m, err := message(i + 1)
		if err == nil {
			_, err = fmt.Fprintf(c.conn, "a APPEND %s (\\Seen) {%d+}\r\n%s\r\n", box, len(m), m)
		}
		if err == nil {
			err = c.finish("APPEND", io.Discard)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
