package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/postseal/postseal/cmd/mailproxy/internal/config"
)

const initLong = `
Writes a configuration for one account: what was not given by flags is asked for.
The file is for its owner alone; one that is there is never overwritten.

The store and its identity are made with smimetool id new --store FILE ADDRESS.
With --unlock login the passphrase of the store has to be the password at the mail
server: nothing on the disk opens the keys then.
`

// bySRV is the answer for a server that is found by SRV records.
const bySRV = "srv"

// An initAnswer is one thing that has to be known.
type initAnswer struct {
	flag, question, preset string
	value                  string
	unless                 [2]string // it is not asked for with this answer to that flag
}

func newInit(a *app) *cobra.Command {
	file := "mailproxy.toml"
	answers := []*initAnswer{
		{flag: "address", question: "Your mail address"},
		{flag: "server", question: "The name of the mail server, or srv if the DNS has it", preset: bySRV},
		{flag: "login", question: "The name that you log in with", preset: "address"},
		{flag: "store", question: "The file of your store of keys", preset: "store.db"},
		{flag: "unlock", question: "When the keys are unlocked: start, by a passphrase in a file, or login, by your password", preset: config.UnlockStart},
		{flag: "passphrase-file", question: "The file with the passphrase of the store", preset: "passphrase", unless: [2]string{"unlock", config.UnlockLogin}},
	}
	cmd := a.newCommand("init [flags]", "Write a configuration", initLong, func() error { return a.init(file, answers) })
	cmd.Flags().StringVarP(&file, "output", "o", file, "write to `FILE`")
	for _, one := range answers {
		cmd.Flags().StringVar(&one.value, one.flag, "", strings.ToLower(one.question[:1])+one.question[1:])
	}
	return cmd
}

func (a *app) init(file string, answers []*initAnswer) error {
	values := make(map[string]string)
	in := bufio.NewReader(io.LimitReader(a.stdin, maxAnswers))
	for _, one := range answers {
		if known, ok := values[one.preset]; ok {
			one.preset = known
		}
		if one.value == "" && (one.unless[0] == "" || values[one.unless[0]] != one.unless[1]) {
			if err := a.ask(in, one); err != nil {
				return err
			}
		}
		values[one.flag] = one.value
	}
	text := initText(values)
	conf, err := config.Parse(file, text)
	if err != nil {
		return &usageError{"these answers make no configuration: " + err.Error(), nil}
	}
	if err = writeNew(file, []byte(text)); err != nil {
		return err
	}
	a.tell("%s is written. Next:", file)
	if _, err = os.Stat(conf.Accounts[0].Store); err != nil {
		pass, say := "", "whose passphrase has to be your password at the mail server"
		if secret := conf.Accounts[0].Passphrase; secret != "" {
			pass, say = " --store-passphrase-file "+secret, "whose passphrase is to be in that file, for you alone"
		}
		a.tell("  smimetool id new --store %s%s %s", conf.Accounts[0].Store, pass, values["address"])
		a.tell("      makes an identity, and the store, %s", say)
	}
	a.tell("  mailproxy check --config %s   tells whether everything works", file)
	a.tell("  mailproxy run --config %s     serves, at 127.0.0.1:1587 (SMTP) and 127.0.0.1:1143 (IMAP)", file)
	return nil
}

// maxAnswers bounds what is read from the terminal, in octets.
const maxAnswers = 64 << 10

func (a *app) ask(in *bufio.Reader, one *initAnswer) error {
	f, ok := a.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		if one.value = one.preset; one.value != "" {
			return nil
		}
		return &usageError{"--" + one.flag + " is needed: there is no terminal to ask at", nil}
	}
	question := one.question
	if one.preset != "" {
		question += " [" + one.preset + "]"
	}
	for one.value == "" {
		_, _ = fmt.Fprint(a.stderr, question+": ") // whoever sees nothing types nothing
		line, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		if one.value = strings.TrimSpace(line); one.value == "" {
			one.value = one.preset
		}
	}
	return nil
}

// initText returns the configuration. JSON strings of printable text, as
// strconv.Quote makes, are TOML strings.
func initText(values map[string]string) string {
	q := func(key string) string { return strconv.Quote(values[key]) }
	var b strings.Builder
	b.WriteString("# Configuration of mailproxy. docs/mailproxy.toml explains every key.\n\n" +
		"# Sign whatever can be signed; encrypt to whomever there is a certificate of.\n" +
		"[[rule]]\nsign = \"if-possible\"\nencrypt = \"if-possible\"\n\n")
	fmt.Fprintf(&b, "[[account]]\nlogin = %s\naddresses = [%s]\nstore = %s\nunlock = %s\n", q("login"), q("address"), q("store"), q("unlock"))
	if values["passphrase-file"] != "" {
		fmt.Fprintf(&b, "passphrase_file = %s\n", q("passphrase-file"))
	}
	upstream := fmt.Sprintf("host = %s\nmode = \"implicit\"\n", q("server"))
	if values["server"] == bySRV {
		_, domain, _ := strings.Cut(values["address"], "@")
		upstream = fmt.Sprintf("find = \"srv\"\ndomain = %q\n", domain)
	}
	for _, l := range []struct {
		protocol string
		port     int
	}{{config.SMTP, 1587}, {config.IMAP4, 1143}} {
		fmt.Fprintf(&b, "\n[[listener]]\nprotocol = %q\naddress = \"127.0.0.1:%d\"\nmode = \"starttls\"\nself_made = \"mailproxy-tls.pem\"\n\n"+
			"[listener.upstream]\n%s", l.protocol, l.port, upstream)
	}
	return b.String()
}
