package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postseal/postseal/internal/testpki"
)

const demoLong = `
Makes a small certificate authority and two people, Alice and Bob, in a new
temporary folder, and lets them sign, encrypt, decrypt and verify a message. It
shows each command as a person would type it, and what came of it.

The folder stays, so that you can try more in it; --remove removes it.
`

func newDemo(a *app) *cobra.Command {
	var remove bool
	cmd := a.newCommand("demo [--remove]", "Show the commands at work, with two invented people", demoLong, 0,
		func([]string) error { return a.demo(remove) })
	cmd.Flags().BoolVar(&remove, "remove", false, "remove the folder at the end")
	return cmd
}

// demoMessage is what Alice writes.
const demoMessage = `From: Alice <alice@demo.example>
To: Bob <bob@demo.example>
Subject: Lunch on Friday
Date: Fri, 02 Jan 2026 10:00:00 +0000
Message-ID: <lunch@demo.example>
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

Dear Bob,

shall we meet at noon? The soup costs 5 €.

Alice
`

// A demoStep is one thing that is shown.
type demoStep struct {
	say  string
	args string       // the command line, without quoting
	code int          // the exit code that it should have
	do   func() error // in place of a command
	show string       // a file to show afterwards
}

func demoSteps() []demoStep {
	return []demoStep{
		{say: "Alice signs her message. Everybody can still read it.", args: "sign --identity alice.pem -o signed.eml message.eml"},
		{say: "Bob checks who signed it.", args: "verify --trust ca.pem signed.eml"},
		{say: "Alice signs and encrypts it: now Bob alone can read it.",
			args: "encrypt --to bob-cert.pem --sign alice.pem -o secret.eml message.eml"},
		{say: "This is what others see of it.", args: "show secret.eml"},
		{say: "Bob takes the encryption off. The signature inside stays.", args: "decrypt --identity bob.pem -o decrypted.eml secret.eml"},
		{args: "verify --trust ca.pem decrypted.eml"},
		{say: "Or he does all in one: opens every layer, and has the verdict.",
			args: "open --identity bob.pem --trust ca.pem -o opened.eml secret.eml", show: "opened.eml"},
		{say: "Alice cannot open it: she did not encrypt it to herself.", args: "open --identity alice.pem --trust ca.pem secret.eml", code: exitNoKey},
		{say: "Somebody changes a word in the signed message on its way. Bob notices.", do: tamper},
		{args: "verify --trust ca.pem tampered.eml", code: exitInvalid},
	}
}

func (a *app) demo(remove bool) (err error) {
	dir, err := os.MkdirTemp("", "smimetool-demo-")
	if err != nil {
		return err
	}
	if remove {
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	home, err := os.Getwd()
	if err != nil {
		return err
	}
	if err = os.Chdir(dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Chdir(home)) }()
	a.tell("In the folder " + dir + " are now:")
	if err = a.demoFiles(); err != nil {
		return err
	}
	for _, step := range demoSteps() {
		if err = a.demoStep(step); err != nil {
			return err
		}
	}
	if remove {
		a.tell("\nThat was all. The folder is removed.")
	} else {
		a.tell("\nThat was all. Try more in " + dir + ", and remove it when you are done.")
	}
	return nil
}

func (a *app) tell(line string) { _, _ = fmt.Fprintln(a.stdout, line) } // what is said is all there is

// demoFiles makes the people.
func (a *app) demoFiles() error {
	ca, err := testpki.NewCA("Demo Authority")
	if err != nil {
		return err
	}
	write := func(name, what string, data []byte, mode os.FileMode) error {
		a.tell(fmt.Sprintf("  %-14s %s", name, what))
		return os.WriteFile(name, data, mode)
	}
	err = write("ca.pem", "the certificate of a small authority, which both trust", testpki.CertPEM(ca.Cert), 0o644)
	if err != nil {
		return err
	}
	for _, name := range []string{"Alice", "Bob"} {
		lower := strings.ToLower(name)
		p, issueErr := ca.Issue(testpki.Profile{Name: name, Email: lower + "@demo.example", Key: testpki.RSA2048})
		if issueErr != nil {
			return issueErr
		}
		key, keyErr := p.KeyPEM()
		if keyErr != nil {
			return keyErr
		}
		cert := testpki.CertPEM(p.Cert)
		if err = write(lower+"-cert.pem", name+"'s certificate, for everybody", cert, 0o644); err != nil {
			return err
		}
		if err = write(lower+".pem", name+"'s certificate and private key, for "+name+" alone", append(cert, key...), 0o600); err != nil {
			return err
		}
	}
	return write("message.eml", "a message that Alice wrote", []byte(demoMessage), 0o644)
}

func (a *app) demoStep(step demoStep) error {
	if step.say != "" {
		a.tell("\n" + a.paint(a.stdout, bold, "# "+step.say))
	}
	if step.do != nil {
		return step.do()
	}
	a.tell("$ smimetool " + step.args)
	out := &indenter{dst: a.stdout, start: true}
	inner := &app{stdin: strings.NewReader(""), stdout: out, stderr: out, temps: a.temps}
	inner.secret, inner.home = &secret{a: inner}, newHome(inner)
	if code := inner.run(strings.Fields(step.args)); code != step.code {
		return fmt.Errorf("the exit code of this command should be %d, and is %d", step.code, code)
	}
	if step.code != exitOK {
		a.tell(fmt.Sprintf("  (exit code %d)", step.code))
	}
	if step.show == "" {
		return nil
	}
	data, err := os.ReadFile(step.show)
	if err != nil {
		return err
	}
	a.tell("$ cat " + step.show)
	_, err = out.Write(bytes.ReplaceAll(data, []byte("\r"), nil))
	return err
}

// tamper changes a word in the signed message.
func tamper() error {
	data, err := os.ReadFile("signed.eml")
	if err != nil {
		return err
	}
	changed := bytes.Replace(data, []byte("noon"), []byte("nine"), 1)
	if bytes.Equal(changed, data) {
		return errors.New("signed.eml does not have the word that was to be changed")
	}
	return os.WriteFile("tampered.eml", changed, 0o600)
}

// An indenter sets every line in.
type indenter struct {
	dst   io.Writer
	start bool // of a line
}

// Write implements io.Writer.
func (w *indenter) Write(p []byte) (int, error) {
	var b bytes.Buffer
	for _, c := range p {
		if w.start && c != '\n' {
			b.WriteString("  ")
		}
		w.start = c == '\n'
		b.WriteByte(c)
	}
	if _, err := w.dst.Write(b.Bytes()); err != nil {
		return 0, err
	}
	return len(p), nil
}
