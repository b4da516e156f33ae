package main

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// A mailClient speaks SMTP. It waits for each answer before it goes on.
type mailClient struct {
	conn net.Conn
	br   *bufio.Reader
}

// An answerError is an answer that was not hoped for.
type answerError struct{ Command, Answer string }

func (e *answerError) Error() string { return fmt.Sprintf("%s: %q", e.Command, e.Answer) }

// dialMail connects and reads the greeting.
func dialMail(address string) (*mailClient, error) {
	conn, err := net.DialTimeout("tcp", address, time.Minute)
	if err != nil {
		return nil, err
	}
	c := &mailClient{conn, bufio.NewReaderSize(conn, 32<<10)}
	if err = conn.SetDeadline(time.Now().Add(5 * time.Minute)); err == nil {
		_, err = c.br.ReadString('\n')
	}
	if err != nil {
		_ = conn.Close() // the error is told
		return nil, fmt.Errorf("the greeting of %s: %w", address, err)
	}
	return c, nil
}

// say sends text and reads until a line that begins with want; lines of an
// answer that goes on are skipped.
func (c *mailClient) say(text, want string) error {
	if _, err := io.WriteString(c.conn, text); err != nil {
		return err
	}
	for {
		line, err := c.br.ReadString('\n')
		if err != nil {
			return err
		}
		if strings.HasPrefix(line, want) {
			return nil
		}
		if len(line) < 4 || line[3] != '-' {
			command, _, _ := strings.Cut(text, " ")
			return &answerError{strings.TrimSpace(command), strings.TrimSpace(line)}
		}
	}
}

// secure goes over to TLS.
func (c *mailClient) secure(config *tls.Config) {
	c.conn = tls.Client(c.conn, config)
	c.br.Reset(c.conn)
}

// dialSMTP connects, and logs in where there is a login; without a configuration
// there is no TLS.
func dialSMTP(address, login string, config *tls.Config) (*mailClient, error) {
	c, err := dialMail(address)
	if err != nil {
		return nil, err
	}
	const hello = "EHLO client.example\r\n"
	if err = c.say(hello, "250 "); err == nil && config != nil {
		if err = c.say("STARTTLS\r\n", "220"); err == nil {
			c.secure(config)
			err = c.say(hello, "250 ")
		}
	}
	if err == nil && login != "" {
		err = c.say("AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00"+login+"\x00"+mailSecret))+"\r\n", "2")
	}
	if err != nil {
		_ = c.conn.Close() // the error is told
		return nil, err
	}
	return c, nil
}

// send sends a message. mail ends with a line that has a dot in it.
func (c *mailClient) send(from, to, mail string) error {
	for _, step := range [][2]string{{"MAIL FROM:<" + from + ">\r\n", "250"}, {"RCPT TO:<" + to + ">\r\n", "250"}, {"DATA\r\n", "354"}, {mail, "250"}} {
		if err := c.say(step[0], step[1]); err != nil {
			return err
		}
	}
	return nil
}
