package config

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
)

// maxSecret bounds the file of a passphrase, in octets.
const maxSecret = 64 << 10

// FirstLine returns the first line of a file: a passphrase, a PIN or a password.
func FirstLine(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	data, err := io.ReadAll(io.LimitReader(f, maxSecret))
	if err != nil {
		return nil, err
	}
	line, _, _ := bytes.Cut(data, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r")), nil
}

// ErrNoPEM says that a file has no certificate in PEM.
var ErrNoPEM = errors.New("there is no certificate in PEM in it")

// Roots returns the authorities of the system and those in a file; nil, which is
// those of the system, when the name is empty. The error wraps ErrNoPEM, or is
// that of reading the file.
func Roots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%s: %w", file, ErrNoPEM)
	}
	return pool, nil
}
