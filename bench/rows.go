package main

import (
	"context"
	"fmt"
	"os"
)

// A row is an operation: what the programs are asked for.
type row struct {
	name  string
	op    string // sign, verify, encrypt, decrypt, seal (both), open (both)
	smime bool   // or DER
	form  string // detached or opaque; cbc or gcm
	in    string // the file that is read
	// stages are what cannot be avoided, for the physical limit.
	stages []string
}

// rows are all operations. Signatures are RSA-2048 with SHA-256, encryption is
// AES-256 to one RSA-2048 key.
var rows = []row{
	{"sign, S/MIME detached", "sign", true, "detached", "mail", []string{"sha256", "copy"}},
	{"sign, S/MIME opaque", "sign", true, "opaque", "mail", []string{"sha256", "base64", "grow"}},
	{"verify, S/MIME detached", "verify", true, "detached", "detached.eml", []string{"sha256", "copy"}},
	{"verify, S/MIME opaque", "verify", true, "opaque", "opaque.eml", []string{"sha256", "unbase64", "copy"}},
	{"encrypt, S/MIME CBC", "encrypt", true, "cbc", "mail", []string{"cbc", "base64", "grow"}},
	{"encrypt, S/MIME GCM", "encrypt", true, "gcm", "mail", []string{"gcm", "base64", "grow"}},
	{"decrypt, S/MIME CBC", "decrypt", true, "cbc", "cbc.eml", []string{"uncbc", "unbase64", "copy"}},
	{"decrypt, S/MIME GCM", "decrypt", true, "gcm", "gcm.eml", []string{"gcm", "unbase64", "copy"}},
	{"sign and encrypt, S/MIME GCM", "seal", true, "gcm", "mail", []string{"sha256", "gcm", "base64", "grow"}},
	{"decrypt and verify, S/MIME CBC", "open", true, "cbc", "sealed.eml", []string{"uncbc", "sha256", "unbase64", "copy"}},
	{"sign, DER detached", "sign", false, "detached", "body", []string{"sha256", "read"}},
	{"verify, DER detached", "verify", false, "detached", "detached.der", []string{"sha256", "read"}},
	{"sign, DER opaque", "sign", false, "opaque", "body", []string{"sha256", "copy"}},
	{"verify, DER opaque", "verify", false, "opaque", "opaque.der", []string{"sha256", "copy"}},
	{"encrypt, DER CBC", "encrypt", false, "cbc", "body", []string{"cbc", "copy"}},
	{"encrypt, DER GCM", "encrypt", false, "gcm", "body", []string{"gcm", "copy"}},
	{"decrypt, DER CBC", "decrypt", false, "cbc", "cbc.der", []string{"uncbc", "copy"}},
	{"decrypt, DER GCM", "decrypt", false, "gcm", "gcm.der", []string{"gcm", "copy"}},
}

// A peer is a program that is measured. command returns nil for an operation
// that it cannot do. Commands write to the file out in the world's folder.
type peer struct {
	name    string
	version string
	env     []string
	command func(row) []command
	close   func() // may be nil
}

var cipherNames = map[string]string{"cbc": "aes-256-cbc", "gcm": "aes-256-gcm"}

// ours returns the command of smimetool.
func (w *world) ours(r row) []command {
	args := []string{w.tool}
	switch {
	case r.smime && r.op == "seal":
		args = append(args, "encrypt", "--sign", w.alice.Full, "--to", w.alice.Cert, "--cipher", cipherNames[r.form])
	case r.smime && r.op == "open":
		args = append(args, "open", "--identity", w.alice.Full, "--trust", w.alice.CA)
	case r.smime:
		args = append(args, r.op)
	default:
		args = append(args, "cms", r.op)
	}
	switch r.op {
	case "sign":
		args = append(args, "--identity", w.alice.Full)
		if r.smime && r.form == "opaque" {
			args = append(args, "--opaque")
		}
		if !r.smime && r.form == "detached" {
			args = append(args, "--detached")
		}
	case "verify":
		args = append(args, "--trust", w.alice.CA)
		if !r.smime && r.form == "detached" {
			args = append(args, "--content", w.path("body"))
		}
	case "encrypt":
		args = append(args, "--cipher", cipherNames[r.form], "--to", w.alice.Cert)
	case "decrypt":
		args = append(args, "--identity", w.alice.Full)
	}
	if !(r.op == "verify" && !r.smime && r.form == "detached") {
		args = append(args, "-o", w.path("out"))
	}
	return []command{{args: append(args, w.path(r.in))}}
}

// writeMessage writes the message that a row reads, with Postseal. remove takes
// it away again: there is not room for all of them.
func (w *world) writeMessage(ctx context.Context, r row) (remove func(), err error) {
	writing := r
	writing.op = map[string]string{"verify": "sign", "decrypt": "encrypt", "open": "seal"}[r.op]
	if writing.op == "" {
		return func() {}, nil // it reads the content
	}
	writing.in = "mail"
	if !r.smime {
		writing.in = "body"
	}
	if _, err = execute(ctx, nil, w.ours(writing)...); err != nil {
		return nil, err
	}
	return func() { _ = os.Remove(w.path(r.in)) }, os.Rename(w.path("out"), w.path(r.in)) // it is temporary
}

// check judges an output: what was opened must be the content, and what was
// made must open to it.
func (w *world) check(ctx context.Context, r row, out string) error {
	reading := r
	switch r.op {
	case "verify":
		if !r.smime && r.form == "detached" {
			return nil // the exit code tells
		}
		return w.same(out)
	case "decrypt", "open":
		return w.same(out)
	case "sign":
		reading.op = "verify"
	case "encrypt":
		reading.op = "decrypt"
	case "seal":
		reading.op = "open"
	}
	made := w.path("made")
	if err := os.Rename(out, made); err != nil {
		return err
	}
	defer func() { _ = os.Remove(made) }() // it is temporary
	reading.in = "made"
	commands := w.ours(reading)
	for i := range commands {
		if r.op == "sign" && r.smime { // peers need not keep the From field
			commands[i].args = append(commands[i].args, "--no-sender-check")
		}
	}
	if _, err := execute(ctx, []string{"TMPDIR=" + w.dir}, commands...); err != nil {
		return fmt.Errorf("the output cannot be read: %w", err)
	}
	if reading.op == "verify" && !r.smime && r.form == "detached" {
		return nil
	}
	return w.same(out)
}
